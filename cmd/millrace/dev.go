package main

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/devkafka"
)

func devCommand() *cobra.Command {
	var (
		port       uint16
		dir        string
		partitions int
	)
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a Kafka broker for development until interrupted",
		Long: "Run a Kafka broker for development until interrupted: one process, nothing to install, for every Kafka\n" +
			"client on this machine. It is no place for data that matters; that is Apache Kafka.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			broker, err := devkafka.Start(
				devkafka.Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))),
				devkafka.Dir(dir),
				devkafka.Partitions(partitions),
				devkafka.Log(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))))
			if err != nil {
				return err
			}
			kept := "in memory (--data DIR keeps them)"
			if dir != "" {
				kept = "in " + dir
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\nKafka for development is up: give this address to clients as their bootstrap server.\n"+
				"Topics are created on demand with %d partitions; records are kept %s. Ctrl-C ends it.\n",
				broker.Brokers()[0], partitions, kept)
			<-cmd.Context().Done()
			return broker.Close()
		},
	}
	c.Flags().Uint16Var(&port, "port", 9092, "port to listen on, 0 for a free one")
	c.Flags().StringVar(&dir, "data", "", "`directory` for topics, records and offsets (default: memory)")
	c.Flags().IntVar(&partitions, "partitions", devkafka.DefaultPartitions, "partitions of a topic created on demand")
	return c
}
