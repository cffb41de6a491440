package properties_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/properties"
)

func TestSecurityIsRefused(t *testing.T) {
	none := func(string) string { return "" }
	for want, p := range map[string]properties.Properties{
		"security.protocol=WHATEVER": {"security.protocol": "whatever"},
		"only PEM":                   {"security.protocol": "SSL", "ssl.truststore.location": "trust.jks"},
		"host name is not checked":   {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": ""},
		"ssl.keystore.key: a cert":   {"security.protocol": "SSL", "ssl.keystore.key": "no PEM"},
		"truststore.certificates ho": {"security.protocol": "SSL", "ssl.truststore.certificates": "no PEM"},
		"SASL needs a":               {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"},
		"sasl.mechanism=GSSAPI":      {"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI", "sasl.username": "u", "sasl.password": "p"},
	} {
		if _, err := p.Security(none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", p, err, want)
		}
	}
	env := func(string) string { return "from the environment" }
	if _, err := (properties.Properties{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}).Security(env); err != nil {
		t.Error(err)
	}
}

// TestCertificatesAsText connects with certificates that are configs themselves, as secrets of Kubernetes are given.
func TestCertificatesAsText(t *testing.T) {
	chain, key := selfSigned(t)
	p := properties.Properties{
		"security.protocol": "SSL", "ssl.truststore.certificates": chain, "ssl.keystore.certificate.chain": chain, "ssl.keystore.key": key,
	}
	opts, err := p.Security(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	config, ok := client.OptValue(kgo.DialTLSConfig).(*tls.Config)
	if !ok || len(config.Certificates) != 1 || config.RootCAs == nil {
		t.Errorf("the client has %v", config)
	}
}

func selfSigned(t *testing.T) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", pkcs8)
}
