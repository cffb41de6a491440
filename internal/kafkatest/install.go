//go:build unix

package kafkatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

//go:embed pom.xml
var pom []byte

//go:embed log4j2.properties
var logging []byte

// checkpointName is the file in which a formatted storage keeps the feature levels that its cluster begins with.
const checkpointName = "bootstrap.checkpoint"

// oldestJava is the oldest Java that runs the brokers of pom.xml.
const oldestJava = 17

// installation is what a broker needs to be started, all of it kept in the user's cache directory.
type installation struct {
	java       string // the command
	javaID     string // tells apart the Javas of which each has its own archive
	cache      string // the directory
	logging    string // log4j2.properties
	classPath  string
	checkpoint []byte
}

// install makes what is missing: the jars, a formatted storage, an archive of loaded classes. Processes that come
// at the same time wait for the first.
func install(ctx context.Context) (*installation, error) {
	java, javaID, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("kafkatest: no directory for the jars' class path: %w", err)
	}
	inst := &installation{java: java, javaID: javaID}
	inst.cache = filepath.Join(user, "millrace", "kafkatest", digest(pom, logging))
	inst.logging = filepath.Join(inst.cache, "log4j2.properties")
	if err := os.MkdirAll(inst.cache, 0o755); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	unlock, err := lock(filepath.Join(inst.cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := os.WriteFile(inst.logging, logging, 0o644); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	for _, step := range []func(context.Context) error{inst.resolveJars, inst.formatStorage, inst.archiveClasses} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return inst, nil
}

// findJava returns the java command and a name for its build.
func findJava(ctx context.Context) (command, id string, err error) {
	const remedy = "install Java 17 or newer (apt-get install openjdk-17-jre-headless, brew install openjdk) or set JAVA_HOME"
	command = "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		command = filepath.Join(home, "bin", "java")
	}
	if command, err = exec.LookPath(command); err != nil {
		return "", "", fmt.Errorf("kafkatest: no Java to run Apache Kafka: %w: %s", err, remedy)
	}
	out, err := exec.CommandContext(ctx, command, "-version").CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("kafkatest: %s -version: %w: %s\n%s", command, err, remedy, out)
	}
	if v := javaVersion(string(out)); v < oldestJava {
		return "", "", fmt.Errorf("kafkatest: %s is Java %d, but Apache Kafka needs %d: %s", command, v, oldestJava, remedy)
	}
	return command, digest([]byte(command), out), nil
}

// javaVersion finds the major version in what java -version prints; 0 where there is none.
func javaVersion(out string) int {
	m := regexp.MustCompile(`version "(\d+)`).FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	v, _ := strconv.Atoi(m[1]) // digits; "1.8" counts as 1, which is too old either way
	return v
}

// resolveJars finds the class path: the one of the last time if all its jars are still there, else Maven's.
func (inst *installation) resolveJars(ctx context.Context) error {
	path := filepath.Join(inst.cache, "classpath")
	if known, err := os.ReadFile(path); err == nil && allExist(string(known)) {
		inst.classPath = string(known)
		return nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("kafkatest: no Maven to fetch the jars of Apache Kafka: %w: "+
			"install it (apt-get install maven, brew install maven)", err)
	}
	pomPath := filepath.Join(inst.cache, "pom.xml")
	if err := os.WriteFile(pomPath, pom, 0o644); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	resolve := func(flags ...string) ([]byte, error) {
		args := append(flags, "-q", "-B", "-f", pomPath, "dependency:build-classpath", "-Dmdep.outputFile="+path+".maven")
		return exec.CommandContext(ctx, mvn, args...).CombinedOutput()
	}
	if _, err := resolve("-o"); err != nil {
		if out, err := resolve(); err != nil {
			return fmt.Errorf("kafkatest: Maven cannot fetch the jars of Apache Kafka: %w: "+
				"the first run needs a repository that answers (see settings.xml of Maven for proxies and mirrors)\n%s", err, out)
		}
	}
	found, err := os.ReadFile(path + ".maven")
	if err != nil {
		return fmt.Errorf("kafkatest: Maven wrote no class path: %w", err)
	}
	inst.classPath = string(found)
	return writeWhole(path, found)
}

func allExist(classPath string) bool {
	for jar := range strings.SplitSeq(classPath, string(os.PathListSeparator)) {
		if _, err := os.Stat(jar); err != nil {
			return false
		}
	}
	return true
}

// formatStorage has Kafka's own tool format a storage, once. What it writes for the node is remade for each; the
// feature levels are the same for all.
func (inst *installation) formatStorage(ctx context.Context) error {
	path := filepath.Join(inst.cache, checkpointName)
	if known, err := os.ReadFile(path); err == nil {
		inst.checkpoint = known
		return nil
	}
	dir, err := os.MkdirTemp(inst.cache, "format-")
	if err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	defer os.RemoveAll(dir)
	l := &layout{clusterID: randomID(), clients: []int{1}, controllers: []int{2}}
	settings, data := filepath.Join(dir, "server.properties"), filepath.Join(dir, "data")
	if err := os.WriteFile(settings, []byte(l.properties(1, data)), 0o644); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	tool := exec.CommandContext(ctx, inst.java, "-XX:TieredStopAtLevel=1", "-Dlog4j.configurationFile="+inst.logging,
		"-cp", inst.classPath, "kafka.tools.StorageTool", "format", "--cluster-id", l.clusterID, "--config", settings,
		"--feature", "streams.version=1")
	if out, err := tool.CombinedOutput(); err != nil {
		return fmt.Errorf("kafkatest: Kafka's storage tool cannot format: %w\n%s", err, out)
	}
	if inst.checkpoint, err = os.ReadFile(filepath.Join(data, checkpointName)); err != nil {
		return fmt.Errorf("kafkatest: Kafka's storage tool wrote no feature levels: %w", err)
	}
	return writeWhole(path, inst.checkpoint)
}

func (inst *installation) archivePath() string {
	return filepath.Join(inst.cache, "classes-"+inst.javaID+".jsa")
}

// archiveFlags make a JVM load the archived classes, which halves the time to start.
func (inst *installation) archiveFlags() []string {
	if s, err := os.Stat(inst.archivePath()); err != nil || s.Size() == 0 {
		return nil
	}
	return []string{"-XX:SharedArchiveFile=" + inst.archivePath(), "-Xlog:cds=off", "-Xlog:cds+dynamic=off"}
}

// archiveClasses runs one broker for a moment and keeps the classes that it loaded. A JVM that cannot do that leaves
// an empty file, so that it is not tried again, and brokers start without.
func (inst *installation) archiveClasses(ctx context.Context) error {
	if _, err := os.Stat(inst.archivePath()); err == nil {
		return nil
	}
	dir, err := os.MkdirTemp(inst.cache, "archive-")
	if err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	defer os.RemoveAll(dir)
	l, err := newLayout(defaults())
	if err != nil {
		return err
	}
	n := &node{id: 1, dir: filepath.Join(dir, "broker-1")}
	if err := l.format(n, inst); err != nil {
		return err
	}
	made := filepath.Join(dir, "classes.jsa")
	if err := n.launch(inst, defaults().heapMiB, "-XX:ArchiveClassesAtExit="+made); err != nil {
		return err
	}
	if err := n.awaitReady(ctx); err != nil {
		return errors.Join(err, n.kill())
	}
	if err := n.shutdown(startTimeout); err != nil {
		return err
	}
	if err := os.Rename(made, inst.archivePath()); err != nil {
		return writeWhole(inst.archivePath(), nil)
	}
	return nil
}

// writeWhole writes a file so that it is seen whole or not at all.
func writeWhole(path string, data []byte) error {
	tmp := path + ".new"
	if err := errors.Join(os.WriteFile(tmp, data, 0o644), os.Rename(tmp, path)); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	return nil
}

// lock takes an exclusive lock on a file, which ends with this process at the latest.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("kafkatest: %s cannot be locked: %w", path, err), f.Close())
		}
	}
}

// digest names contents by the first 12 digits of their hash.
func digest(contents ...[]byte) string {
	h := sha256.New()
	h.Write(bytes.Join(contents, []byte{0}))
	return fmt.Sprintf("%x", h.Sum(nil))[:12]
}
