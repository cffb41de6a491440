// Package kill holds the test that kills an application again and again. It runs on Apache Kafka: make test-kafka.
package kill
