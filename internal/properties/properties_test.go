package properties_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/properties"
)

func TestSecurityIsRefused(t *testing.T) {
	none := func(string) string { return "" }
	for want, p := range map[string]properties.Properties{
		"security.protocol=WHATEVER": {"security.protocol": "whatever"},
		"only PEM":                   {"security.protocol": "SSL", "ssl.truststore.location": "trust.jks"},
		"host name is not checked":   {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": ""},
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
