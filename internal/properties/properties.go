// Package properties reads the configuration of Java's Kafka clients, as far as it says how to connect.
package properties

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Properties are those of a Java client, by name.
type Properties map[string]string

// Read reads a file of properties; none where its name is empty.
func Read(file string) (Properties, error) {
	p := Properties{}
	if file == "" {
		return p, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	whole := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if whole == "" && (line == "" || line[0] == '#' || line[0] == '!') {
			continue
		}
		if more, ok := strings.CutSuffix(line, "\\"); ok {
			whole += more
			continue
		}
		key, value, ok := strings.Cut(whole+line, "=")
		if whole = ""; !ok {
			return nil, fmt.Errorf("%s: the line %q is no property of the form name=value", file, strings.SplitN(line, " ", 2)[0])
		}
		p[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return p, nil
}

// jaas finds user name and password in what Java calls a login module.
var jaas = regexp.MustCompile(`\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"`)

// Security makes options of the properties, with which a Java client would connect as well. User name and password are
// taken from env first: MILLRACE_SASL_USERNAME and MILLRACE_SASL_PASSWORD.
func (p Properties) Security(env func(string) string) (opts []kgo.Opt, err error) {
	protocol := strings.ToUpper(p["security.protocol"])
	withTLS, withSASL := strings.HasSuffix(protocol, "SSL"), strings.HasPrefix(protocol, "SASL_")
	switch protocol {
	case "", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL":
	default:
		return nil, fmt.Errorf("security.protocol=%s is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL", protocol)
	}
	if withTLS {
		config, err := p.tls()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if !withSASL {
		return opts, nil
	}
	mechanism, err := p.sasl(env)
	return append(opts, kgo.SASL(mechanism)), err
}

func (p Properties) sasl(env func(string) string) (sasl.Mechanism, error) {
	login := map[string]string{"username": p["sasl.username"], "password": p["sasl.password"]}
	for _, m := range jaas.FindAllStringSubmatch(p["sasl.jaas.config"], -1) {
		login[m[1]] = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2])
	}
	for name, variable := range map[string]string{"username": "MILLRACE_SASL_USERNAME", "password": "MILLRACE_SASL_PASSWORD"} {
		if v := env(variable); v != "" {
			login[name] = v
		}
		if login[name] == "" {
			return nil, fmt.Errorf("SASL needs a %s: set %s, or sasl.jaas.config", name, variable)
		}
	}
	user, password := login["username"], login["password"]
	switch m := strings.ToUpper(p["sasl.mechanism"]); m {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("sasl.mechanism=%s is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512", m)
	}
}

// tls reads certificates, which have to be PEM, as Java stores are of a format of its own.
func (p Properties) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, store := range []string{"truststore", "keystore"} {
		if file := p["ssl."+store+".location"]; file != "" && !strings.EqualFold(p["ssl."+store+".type"], "PEM") {
			return nil, fmt.Errorf("ssl.%s.location=%s: only PEM files can be read (ssl.%s.type=PEM)", store, file, store)
		}
	}
	if name, ok := p["ssl.endpoint.identification.algorithm"]; ok && name == "" {
		return nil, errors.New("ssl.endpoint.identification.algorithm is empty: connections whose host name is not checked are not made")
	}
	trusted, from := p["ssl.truststore.certificates"], "ssl.truststore.certificates"
	if file := p["ssl.truststore.location"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		trusted, from = string(text), file
	}
	if trusted != "" {
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM([]byte(trusted)) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", from)
		}
	}
	pair, err := p.certificate()
	if err != nil {
		return nil, err
	}
	config.Certificates = pair
	return config, nil
}

// certificate reads the client's own, from a file or from the configs themselves (KIP-651); none if there is none.
func (p Properties) certificate() ([]tls.Certificate, error) {
	chain, key := p["ssl.keystore.certificate.chain"], p["ssl.keystore.key"]
	switch file := p["ssl.keystore.location"]; {
	case file != "":
		pair, err := tls.LoadX509KeyPair(file, file)
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore.location=%s: a certificate and its unencrypted key are needed: %w", file, err)
		}
		return []tls.Certificate{pair}, nil
	case chain == "" && key == "":
		return nil, nil
	}
	pair, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err != nil {
		return nil, fmt.Errorf("ssl.keystore.certificate.chain and ssl.keystore.key: a certificate and its unencrypted key are needed, in PEM: %w", err)
	}
	return []tls.Certificate{pair}, nil
}
