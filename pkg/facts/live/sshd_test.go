package live

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeyFilesAreThoseThatSshdReads(t *testing.T) {
	t.Parallel()
	const (
		own   = "/home/deploy/.ssh/authorized_keys"
		main  = "/etc/ssh/sshd_config="
		keysd = "/etc/ssh/sshd_config.d/"
	)
	standard := []string{own, own + "2"}
	for name, c := range map[string]struct {
		sshd []string
		more map[string][]string
		want []string
	}{
		"nothing is said":       {[]string{main + "Port 22\n"}, nil, standard},
		"commented out":         {[]string{main + "#AuthorizedKeysFile /x\n"}, nil, standard},
		"as it is by default":   {[]string{main + "AuthorizedKeysFile .ssh/authorized_keys\n"}, nil, []string{own}},
		"tokens":                {[]string{main + "authorizedkeysfile=/etc/ssh/keys/%u %h/.ssh/authorized_keys /k/%U/100%% # both\n"}, nil, []string{"/etc/ssh/keys/deploy", own, "/k/1000/100%"}},
		"with an equals sign":   {[]string{main + "AuthorizedKeysFile = /k\n"}, nil, []string{"/k"}},
		"none":                  {[]string{main + "AuthorizedKeysFile none\n"}, nil, []string{}},
		"a token of the future": {[]string{main + "AuthorizedKeysFile /k/%Q\n"}, nil, nil},
		"the first counts":      {[]string{main + "AuthorizedKeysFile /a\nAuthorizedKeysFile /b\n"}, nil, []string{"/a"}},

		"included first":           {[]string{main + "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile /b\n", keysd + "1.conf=AuthorizedKeysFile /a\n"}, nil, []string{"/a"}},
		"included relative":        {[]string{main + "Include sshd_config.d/*.conf\n", keysd + "1.conf=AuthorizedKeysFile /a\n"}, nil, []string{"/a"}},
		"included in their order":  {[]string{main + "Include sshd_config.d/*.conf\n", keysd + "2.conf=AuthorizedKeysFile /b\n", keysd + "1.conf=AuthorizedKeysFile /a\n"}, nil, []string{"/a"}},
		"not included":             {[]string{main + "Include other/*.conf\n", keysd + "1.conf=AuthorizedKeysFile /a\n"}, nil, standard},
		"included by itself":       {[]string{main + "Include /etc/ssh/sshd_config\n"}, nil, nil},
		"a match ends with a file": {[]string{main + "Include sshd_config.d/1.conf\nAuthorizedKeysFile /b\n", keysd + "1.conf=Match User other\nAuthorizedKeysFile /a\n"}, nil, []string{"/b"}},

		"for the user":              {[]string{main + "AuthorizedKeysFile /b\nMatch User root,dep*\n AuthorizedKeysFile /a\n"}, nil, []string{"/a"}},
		"for all":                   {[]string{main + "Match all\nAuthorizedKeysFile /a\n"}, nil, []string{"/a"}},
		"for another user":          {[]string{main + "AuthorizedKeysFile /b\nMatch User git Group x\n AuthorizedKeysFile /a\n"}, nil, []string{"/b"}},
		"for all but the user":      {[]string{main + "AuthorizedKeysFile /b\nMatch User *,!deploy\n AuthorizedKeysFile /a\n"}, nil, []string{"/b"}},
		"for some group":            {[]string{main + "AuthorizedKeysFile /b\nMatch Group sftp\n AuthorizedKeysFile /a\n"}, nil, nil},
		"something else for others": {[]string{main + "AuthorizedKeysFile /b\nMatch Group sftp\n ForceCommand internal-sftp\n"}, nil, []string{"/b"}},

		"no configuration":              {nil, nil, nil},
		"a file that is closed to us":   {[]string{main}, map[string][]string{"sshd_unread": {keysd + "1.conf"}}, nil},
		"options on the command line":   {[]string{main}, map[string][]string{"sshd_args": {"sshd: /usr/sbin/sshd -D -oAuthorizedKeysFile=/x [listener] 0 of 10-100 startups"}}, nil},
		"another file":                  {[]string{main}, map[string][]string{"sshd_args": {"/usr/sbin/sshd -f /etc/other"}}, nil},
		"usual processes":               {[]string{main}, map[string][]string{"sshd_args": {"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "sshd: deploy [priv]", "sshd: deploy@notty -f"}}, standard},
		"a name that nobody can follow": {[]string{main + "Include \"sshd config/*\"\n"}, nil, nil},
	} {
		values := map[string][]string{"sshd": c.sshd}
		for k, v := range c.more {
			values[k] = v
		}
		got := keyFiles(record{values: values}, login{name: "deploy", uid: "1000", home: "/home/deploy"})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSudoRefusesOnlyInItsOwnWords(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"":                               "",
		"sudo: a password is required\n": "sudo: a password is required",
		"We trust you have received the usual lecture.\n\nSorry, user deploy is not allowed to execute 'x' as postgres on pg1.\n": "Sorry, user deploy is not allowed to execute 'x' as postgres on pg1.",
		"rsync: on remote machine: -re.: unknown option\nrsync error: syntax or usage error (code 1)\n":                           "",
	} {
		if got := sudoSaid(said); got != want {
			t.Errorf("%q: %q", said, got)
		}
	}
	if strings.Contains(machineScript, "sudo -S") {
		t.Error("the probe could use a password that the key of a copy has not")
	}
}
