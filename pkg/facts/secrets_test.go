package facts_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// TestSecretsAreMaskedHoweverTheyAreSpelled: hunter2 is the secret of every case; what
// stands before it stays.
func TestSecretsAreMaskedHoweverTheyAreSpelled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"conninfo":                          {"primary_conninfo = 'host=pg1 password=hunter2 sslmode=require'\n", "primary_conninfo = 'host=pg1 password=***\n"},
		"the last line, without newline":    {"primary_conninfo = 'password=hunter2'", "primary_conninfo = 'password=***"},
		"as pg_basebackup -R writes it":     {"primary_conninfo = 'user=replicator password=''hunter2'' channel_binding=prefer'\n", "primary_conninfo = 'user=replicator password=***\n"},
		"doubled quotes with a blank":       {"primary_conninfo = 'password='' hunter2'' user=x'\n", "primary_conninfo = 'password=***\n"},
		"an empty one before it":            {"primary_conninfo = 'password='''' password=hunter2'\n", "primary_conninfo = 'password=***\n"},
		"escaped quotes":                    {`primary_conninfo = 'password=\'my hunter2\' user=x'` + "\n", "primary_conninfo = 'password=***\n"},
		"a backslash in it":                 {`primary_conninfo = 'password=a\\\'b hunter2'` + "\n", "primary_conninfo = 'password=***\n"},
		"blanks around =":                   {"primary_conninfo = 'password \t= hunter2'\n", "primary_conninfo = 'password \t=***\n"},
		"upper case, CRLF":                  {"PRIMARY_CONNINFO = 'PASSWORD=hunter2'\r\nx = 1\r\n", "PRIMARY_CONNINFO = 'PASSWORD=***\r\nx = 1\r\n"},
		"a # in quotes before it":           {"primary_conninfo = 'application_name=a#b password=hunter2'\n", "primary_conninfo = 'application_name=a#b password=***\n"},
		"commented out":                     {"#primary_conninfo = 'password=hunter2'\n", "#primary_conninfo = 'password=***\n"},
		"a comment":                         {"# the password: hunter2\n", "# the password:***\n"},
		"an octal escape in its name":       {`primary_conninfo = 'host=x passw\157rd=hunter2'` + "\n", "primary_conninfo = 'host=x passw***\n"},
		"an octal =":                        {`primary_conninfo = 'password\75hunter2'` + "\n", "primary_conninfo = 'password***\n"},
		"a URI":                             {"primary_conninfo = 'postgresql://replicator:hunter2@pg1:5432/x'\n", "primary_conninfo = 'postgresql://replicator:***\n"},
		"an option of a URI":                {"primary_conninfo = 'postgresql://pg1/?pass%77ord=hunter2'\n", "primary_conninfo = 'postgresql://pg1/?pass***\n"},
		"the key's":                         {"primary_conninfo = 'sslkey=/k sslpassword=hunter2'\n", "primary_conninfo = 'sslkey=/k sslpassword=***\n"},
		"SCRAM keys":                        {"primary_conninfo = 'scram_client_key=hunter2'\n", "primary_conninfo = 'scram_client_key=***\n"},
		"LDAP":                              {"host all all all ldap ldapserver=x ldapbindpasswd=\"a hunter2\" ldapsuffix=y\n", "host all all all ldap ldapserver=x ldapbindpasswd=***\n"},
		"LDAP, quoted as a whole":           {"host all all all ldap \"ldapbindpasswd=a hunter2\"\n", "host all all all ldap \"ldapbindpasswd=***\n"},
		"LDAP, quotes in the name":          {"host all all all ldap ldapbindp\"asswd\"=hunter2\n", "host all all all ldap ldapbindp***\n"},
		"LDAP, quotes around the name":      {"host all all all ldap ldapbind\"passwd\"=hunter2\n", "host all all all ldap ldapbind\"passwd\"=***\n"},
		"LDAP, two, the first spelled":      {"host all all all ldap ldapbindp\"asswd\"=hunter2 ldapbindpasswd=x\n", "host all all all ldap ldapbindp***\n"},
		"LDAP, continued behind =":          {"host all all all ldap ldapbindpasswd=\\\nhunter2 \\\n ldaptls=1\nnext\n", "host all all all ldap ldapbindpasswd=***\n***\n***\nnext\n"},
		"LDAP, continued in the name":       {"host all all all ldap ldapbindpa\\\r\nsswd=hunter2\r\nnext\r\n", "host all all all ldap ldapbindpa\\\r\nsswd=***\r\nnext\r\n"},
		"RADIUS":                            {"host all all all radius radiussecrets=\"hunter2,b\"\n", "host all all all radius radiussecrets=***\n"},
		"a passphrase":                      {"ssl_passphrase_command = 'echo hunter2'\n", "ssl_passphrase_command = ***\n"},
		"a passphrase without =":            {"ssl_passphrase_command 'echo hunter2'\n", "ssl_passphrase_command ***\n"},
		"a passphrase that begins quoted":   {"ssl_passphrase_command = '''hunter2'''\n", "ssl_passphrase_command = ***\n"},
		"an environment variable":           {"restore_command = 'PGPASSWORD=hunter2 fetch %f %p'\n", "restore_command = 'PGPASSWORD=***\n"},
		"of object storage":                 {"archive_command = 'AWS_SECRET_ACCESS_KEY=hunter2 aws s3 cp %p s3://wal/%f'\n", "archive_command = 'AWS_SECRET_ACCESS_KEY=***\n"},
		"an option of a command":            {"restore_command = 'fetch --password hunter2 %f %p'\n", "restore_command = 'fetch --password ***\n"},
		"an option of a command, with =":    {"restore_command = 'fetch --password=hunter2 %f %p'\n", "restore_command = 'fetch --password=***\n"},
		"an option of a command, in quotes": {`restore_command = 'fetch "--secret-key" hunter2 "password" = hunter2'` + "\n", `restore_command = 'fetch ***` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			around := "a = 1\n" + c.text
			got := string(facts.MaskSecrets([]byte(around)))
			if diff := cmp.Diff("a = 1\n"+c.want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(got, "hunter2") || !facts.HoldsSecret([]byte(around)) {
				t.Errorf("held: %t, shown: %s", facts.HoldsSecret([]byte(around)), got)
			}
		})
	}
}

// The word alone is no secret, or an edit of the files that PostgreSQL brings would never
// be shown.
func TestTheFilesThatPostgreSQLBringsHoldNoSecret(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"conf/testdata/debian-15.conf", "conf/testdata/postgresql.conf.sample", "hba/testdata/debian-15.conf", "hba/testdata/rhel-15.conf", "hba/testdata/pg_hba.conf.sample"} {
		b, err := os.ReadFile("../postgres/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if facts.HoldsSecret(b) || string(facts.MaskSecrets(b)) != string(b) {
			t.Errorf("%s: %s", name, cmp.Diff(string(b), string(facts.MaskSecrets(b))))
		}
	}
	for _, line := range []string{"", "password_encryption = md5", "host all all all password", "ssl_passphrase_command = '' # none", "ssl_passphrase_command ''",
		"ssl_passphrase_command_supports_reload = on", "ssl_key_file = '/k'", "primary_conninfo = 'host=pg1 passfile=/p sslmode=require'",
		"primary_conninfo = 'postgresql://replicator@pg1:5432/'", `host "all" "a\b" all md5`} {
		if got := string(facts.MaskSecrets([]byte(line))); facts.HoldsSecret([]byte(line)) || got != line {
			t.Errorf("%q is shown as %q", line, got)
		}
	}
}
