use strict; use warnings; use Socket; use Errno qw(EINTR);
my ($mark, $to) = @ARGV;
$SIG{PIPE} = 'IGNORE';
$| = 1;
sub ask { my ($out) = @_;
  my ($n, $part, $s);
  socket($s, PF_UNIX, SOCK_STREAM, 0) && connect($s, pack_sockaddr_un($to)) or return 0;
  while (length $out) {
    $n = syswrite $s, $out;
    if (!defined $n) { next if $! == EINTR; return 0; }
    substr($out, 0, $n) = '';
  }
  while (1) {
    my $r = '';
    vec($r, fileno(STDIN), 1) = vec($r, fileno($s), 1) = 1;
    next if select($r, undef, undef, undef) < 1;
    exit 0 if vec($r, fileno(STDIN), 1); # whoever asked is gone
    $n = sysread $s, $part, 65536;
    if (!defined $n) { next if $! == EINTR; return 0; }
    return 1 if !$n;
    print $part;
  } }
while (defined(my $line = <STDIN>)) {
  print ask($line) ? "$mark ok\n" : "$mark fail " . ($! + 0) . " $!\n";
}
