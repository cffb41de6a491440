package task

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
)

// javas are metadata that Java's TopicPartitionMetadata wrote.
var javas = []struct {
	text  string
	time  int64
	marks map[string]int64
}{
	{"AgAAAAAAAATS", 1234, nil},
	{"Av//////////", -1, nil},
	{"AgAAAAAAAATSAAAAAQAAAARrZXkxAAAAAAAAAAc=", 1234, map[string]int64{"key1": 7}},
}

func TestMetadataIsJavas(t *testing.T) {
	for _, v := range javas {
		if got := encodeMetadata(v.time, v.marks); got != v.text {
			t.Errorf("%d with %v is %s, want %s", v.time, v.marks, got, v.text)
		}
		if time, marks, err := decodeMetadata(v.text); err != nil || time != v.time || !maps.Equal(marks, v.marks) {
			t.Errorf("%s is %d with %v (%v), want %d with %v", v.text, time, marks, err, v.time, v.marks)
		}
	}
	if time, marks, err := decodeMetadata("AQAAAAAAAATS"); err != nil || time != 1234 || marks != nil { // version 1
		t.Errorf("version 1 is %d with %v (%v)", time, marks, err)
	}
	if time, marks, err := decodeMetadata(""); err != nil || time != -1 || marks != nil {
		t.Errorf("no metadata is %d with %v (%v)", time, marks, err)
	}
}

func TestGarbageInMetadata(t *testing.T) {
	for name, text := range map[string]string{
		"no base64":           "!",
		"too short":           base64.StdEncoding.EncodeToString([]byte{2, 0, 0}),
		"a version to come":   base64.StdEncoding.EncodeToString([]byte{3, 0, 0, 0, 0, 0, 0, 4, 210}),
		"marks cut short":     base64.StdEncoding.EncodeToString([]byte("\x02\x00\x00\x00\x00\x00\x00\x04\xd2\x00\x00\x00\x01\x00\x00\x00\x04k")),
		"more marks than fit": base64.StdEncoding.EncodeToString([]byte("\x02\x00\x00\x00\x00\x00\x00\x04\xd2\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")),
		"a name without end":  base64.StdEncoding.EncodeToString([]byte("\x02\x00\x00\x00\x00\x00\x00\x04\xd2\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00")),
	} {
		b := open(t, Config{MaxIdle: -1}, "a")
		begin(t, b, map[string]Committed{"a": {Offset: 5, Metadata: text}})
		if log := b.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "topic=a") {
			t.Errorf("%s: there is no warning: %s", name, log)
		}
		b.SetMark("m", 1)
		if got, want := b.Offsets()["a"], (Committed{Offset: 5, Metadata: encodeMetadata(-1, map[string]int64{"m": 1})}); got != want {
			t.Errorf("%s: to commit is %v, want %v", name, got, want)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, v := range javas {
		f.Add(v.text)
	}
	f.Add("AQAAAAAAAATS")
	f.Fuzz(func(t *testing.T, text string) {
		time, marks, err := decodeMetadata(text)
		if err != nil {
			return
		}
		again, others, err := decodeMetadata(encodeMetadata(time, marks))
		if err != nil || again != time || !maps.Equal(others, marks) {
			t.Errorf("%s is %d with %v, and after a round trip %d with %v (%v)", text, time, marks, again, others, err)
		}
	})
}
