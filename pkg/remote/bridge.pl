use strict; use warnings; use Socket; use Errno qw(EAGAIN EINTR EWOULDBLOCK);
my ($mark, $kind, $to, $port) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my ($s, $no, $text);
sub try { my ($family, $addr) = @_;
  socket($s, $family, SOCK_STREAM, 0) && connect($s, $addr) and return 1;
  ($no, $text) = ($! + 0, "$!"); return 0; }
my $ok = 0;
if ($kind eq 'unix') { $ok = try(PF_UNIX, pack_sockaddr_un($to)); }
else {
  my ($err, @all) = Socket::getaddrinfo($to, $port, {socktype => SOCK_STREAM});
  ($no, $text) = (0, "$err") if $err;
  for my $a (@all) { $ok = try($a->{family}, $a->{addr}) and last; }
}
syswrite STDOUT, $ok ? "$mark ok\n" : "$mark fail $no $text\n";
exit 0 unless $ok;
binmode $_ for *STDIN, *STDOUT, $s;
require IO::Handle; $_->blocking(0) for *STDIN, *STDOUT, $s;
my ($up, $down, $in, $out) = ('', '', 1, 1);
while (1) {
  last if !$out && $down eq '';
  my ($r, $w) = ('', '');
  vec($r, fileno(STDIN), 1) = 1 if $in && length $up < 65536;
  vec($r, fileno($s), 1) = 1 if $out && length $down < 65536;
  vec($w, fileno($s), 1) = 1 if $up ne '';
  vec($w, fileno(STDOUT), 1) = 1 if $down ne '';
  next if select($r, $w, undef, undef) < 0;
  for ([\*STDIN, \$up, \$in], [$s, \$down, \$out]) {
    my ($h, $buf, $open) = @$_;
    next unless vec($r, fileno($h), 1);
    my $n = sysread $h, $$buf, 65536, length $$buf;
    next if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
    if (!$n) { $$open = 0; shutdown($s, 1) if $open == \$in && $up eq ''; }
  }
  for ([$s, \$up], [\*STDOUT, \$down]) {
    my ($h, $buf) = @$_;
    next unless vec($w, fileno($h), 1);
    my $n = syswrite $h, $$buf;
    next if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
    exit 0 unless defined $n;
    substr($$buf, 0, $n) = '';
    shutdown($s, 1) if $h == $s && !$in && $up eq '';
  }
}
