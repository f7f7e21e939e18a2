package lab

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	_ "embed"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/crypto/ssh"
)

//go:embed scripts/machine.sh
var machineScript string

//go:embed scripts/host.sh
var hostScript string

//go:embed scripts/init.sh
var initScript string

//go:embed inventory.yaml.tmpl
var inventoryTemplate string

//go:embed ssh_config.tmpl
var sshConfigTemplate string

// writeState writes all files of the lab's directory, lab.json first, so that
// Down knows where the disks are before there are any.
func (l *Lab) writeState() error {
	if err := l.save(); err != nil {
		return err
	}
	private, public, err := newKey("pgrepctl lab " + l.Name)
	if err != nil {
		return err
	}
	var hosts, known strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n")
	files := []struct {
		path string
		data []byte
	}{
		{"id", private},
		{"id.pub", public},
		{"machine.sh", []byte(machineScript)},
		{"host.sh", []byte(hostScript)},
		{"init.sh", []byte(initScript)},
		{"replication-password", []byte(rand.Text())},
	}
	add := func(path string, data []byte) {
		files = append(files, struct {
			path string
			data []byte
		}{path, data})
	}
	for _, h := range l.Machines {
		private, public, err := newKey("root@" + h.Name)
		if err != nil {
			return err
		}
		add(h.Name+"/hostkey", private)
		add(h.Name+"/hostkey.pub", public)
		fmt.Fprintf(&hosts, "%s %s\n", h.Address, h.Name)
		key := strings.Join(strings.Fields(string(public))[:2], " ")
		fmt.Fprintf(&known, "%s,%s %s\n", h.Name, h.Address, key)
		if err := os.MkdirAll(filepath.Join(l.dir, h.Name), 0o700); err != nil {
			return fmt.Errorf("write lab files: %w", err)
		}
		for _, d := range []string{"upper", "work", "root"} {
			// 0755: upper becomes the host's /.
			if err := os.MkdirAll(filepath.Join(l.Disks, h.Name, d), 0o755); err != nil {
				return fmt.Errorf("write lab files: %w", err)
			}
		}
	}
	add("hosts", []byte(hosts.String()))
	add("known_hosts", []byte(known.String()))
	for name, text := range map[string]string{"inventory.yaml": inventoryTemplate, "ssh_config": sshConfigTemplate} {
		data, err := l.render(name, text)
		if err != nil {
			return err
		}
		add(name, data)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(l.dir, f.path), f.data, 0o600); err != nil {
			return fmt.Errorf("write lab files: %w", err)
		}
	}
	return nil
}

// description is what the two templates see.
type description struct {
	*Lab
	Cluster       PostgresFiles
	State         string // directory of all labs
	DialTimeout   int    // seconds
	DataDirectory bool   // the layout of that name
}

func (l *Lab) render(name, text string) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	var b bytes.Buffer
	d := description{Lab: l, Cluster: l.Files(l.Layout), State: filepath.Dir(l.dir), DialTimeout: int(DialTimeout.Seconds()), DataDirectory: l.Layout == DataDirectory}
	if err := t.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// newKey makes an SSH key: a private key file and a public key line.
func newKey(comment string) (private, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make ssh key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("make ssh key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, fmt.Errorf("make ssh key: %w", err)
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(sshPub)), "\n") + " " + comment + "\n"
	return pem.EncodeToMemory(block), []byte(line), nil
}

// environ is the whole environment of what runs in the lab.
func (l *Lab) environ() []string {
	overlay := ""
	if l.Rootless {
		// trusted.* attributes need privileges outside of the user namespace
		// (overlayfs, Linux 5.11).
		overlay = "userxattr,"
	}
	plain := ""
	if l.PlainData {
		plain = "yes"
	}
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/",
		"TERM=" + os.Getenv("TERM"),
		"LAB_STATE=" + l.dir, "LAB_DISKS=" + l.Disks, "LAB_ROOTFS=" + l.Rootfs, "LAB_OVERLAY=" + overlay,
		"LAB_CGROUP=" + l.Cgroup, "LAB_PLAIN=" + plain,
	}
}
