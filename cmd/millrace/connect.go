package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/properties"
)

// connection is how a command reaches a cluster.
type connection struct {
	brokers []string
	file    string
}

func (c *connection) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&c.brokers, "brokers", []string{"localhost:9092"}, "`addresses` of brokers, host:port,...")
	cmd.Flags().StringVar(&c.file, "command-config", "", "properties `file` of a Java client: bootstrap.servers, security.protocol, sasl.mechanism\n"+
		"(PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), sasl.jaas.config, ssl.truststore.location and\nssl.keystore.location as PEM; "+
		"MILLRACE_SASL_USERNAME and MILLRACE_SASL_PASSWORD go before it")
}

// open makes a client of it. It does not connect.
func (c *connection) open(cmd *cobra.Command) (*kgo.Client, error) {
	p, err := properties.Read(c.file)
	if err != nil {
		return nil, err
	}
	brokers := c.brokers
	if s := p["bootstrap.servers"]; s != "" && !cmd.Flags().Changed("brokers") {
		brokers = strings.Split(s, ",")
	}
	opts, err := p.Security(os.Getenv)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...), kgo.ClientID("millrace"))...)
}
