//go:build unix

package kafkatest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJavaVersion(t *testing.T) {
	for out, want := range map[string]int{
		"openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment\n":  17,
		"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"21\" 2023-09-19": 21,
		"java version \"1.8.0_392\"": 1,
		"no java at all":             0,
	} {
		if got := javaVersion(out); got != want {
			t.Errorf("javaVersion(%q) = %d, want %d", out, got, want)
		}
	}
}

func TestMissingJavaIsAnErrorThatHelps(t *testing.T) {
	t.Setenv("JAVA_HOME", t.TempDir())
	_, err := install(t.Context())
	if err == nil || !strings.Contains(err.Error(), "apt-get install openjdk") {
		t.Errorf("without Java: %v", err)
	}
}

func TestOldJavaIsAnErrorThatHelps(t *testing.T) {
	home := t.TempDir()
	script := "#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n"
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bin", "java"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", home)
	_, err := install(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is Java 11, but Apache Kafka needs 17") {
		t.Errorf("with Java 11: %v", err)
	}
}

func TestMissingMavenIsAnErrorThatHelps(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	inst := &installation{cache: t.TempDir()}
	err := inst.resolveJars(t.Context())
	if err == nil || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("without Maven: %v", err)
	}
}

func TestAClassPathWithAMissingJarIsNotUsed(t *testing.T) {
	jar := filepath.Join(t.TempDir(), "there.jar")
	if err := os.WriteFile(jar, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !allExist(jar + ":" + jar) {
		t.Error("a class path that is whole is not taken")
	}
	if allExist(jar + ":" + jar + ".gone") {
		t.Error("a class path with a missing jar is taken")
	}
}

func TestSettings(t *testing.T) {
	o := defaults()
	Brokers(3)(&o)
	Port(19092)(&o)
	Outside("0.0.0.0", "10.0.0.1")(&o)
	Setting("num.io.threads", "9")(&o)
	l, err := newLayout(o)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := bootstrap(loopback, l.clients), "127.0.0.1:19092,127.0.0.1:19093,127.0.0.1:19094"; got != want {
		t.Errorf("bootstrap is %s, want %s", got, want)
	}
	settings := l.properties(2, "/data")
	for _, want := range []string{
		"node.id=2\n", "listeners=PLAINTEXT://127.0.0.1:19093,", fmt.Sprintf(",OUTSIDE://0.0.0.0:%d\n", l.outside[1]),
		fmt.Sprintf("advertised.listeners=PLAINTEXT://127.0.0.1:19093,OUTSIDE://10.0.0.1:%d\n", l.outside[1]), "default.replication.factor=3\n", "min.insync.replicas=2\n",
	} {
		if !strings.Contains(settings, want) {
			t.Errorf("no %q in\n%s", want, settings)
		}
	}
	if !strings.HasSuffix(settings, "num.io.threads=9\n") {
		t.Errorf("a test's own setting is not the last word in\n%s", settings)
	}
}
