# The holder and its streamer in Perl 5.14 with core modules only; docs/survive.md describes both, and what they say.
# STDIN and STDOUT are those of the exec call; @ARGV is the client's command; $start is the first line of STDIN, and
# its next $skip bytes are for others.
use strict;
our ($start, $skip);
use POSIX ();
use Socket;
use Fcntl qw(:mode F_GETFL F_SETFL O_RDWR O_NOCTTY O_NONBLOCK);
use Errno qw(EAGAIN EINTR EEXIST ENOENT);

# Output that nobody has acknowledged: beyond it the command is not read from, so that it stops writing.
my $WINDOW = 2 << 20;
my $INPUT_WINDOW = 1 << 20;
my $PIECE = 32 << 10;
# An open connection is given at least this long to say something, however short a lost one may linger.
my $SILENCE = 60;
my $PREFIX = '.connect-gateway-proxy-';

# Seconds; the wall clock may jump.
my $hertz = POSIX::sysconf(POSIX::_SC_CLK_TCK()) || 100;
sub now { (POSIX::times())[0] / $hertz }

sub unblock { fcntl $_, F_SETFL, fcntl($_, F_GETFL, 0) | O_NONBLOCK for @_ }

# Reads what is there: undef where nothing is, 0 at the end.
sub drink {
  my ($from, $into, $most) = @_;
  my $n = sysread $from, $$into, $most, length $$into;
  defined $n ? $n : $! == EAGAIN || $! == EINTR ? undef : 0;
}

# As drink, for what the exec call brings.
sub drink_call {
  my ($from, $into) = @_;
  my $had = length $$into;
  my $n = drink($from, $into, 65536);
  return $n unless $n && $skip;
  my $skipped = $n < $skip ? $n : $skip;
  substr $$into, $had, $skipped, '';
  $skip -= $skipped;
  $n;
}

# Writes what can be written: false where nobody reads any more.
sub pour {
  my ($from, $into) = @_;
  return 1 unless length $$from;
  my $n = syswrite $into, $$from, length $$from > 65536 ? 65536 : length $$from;
  return $! == EAGAIN || $! == EINTR unless defined $n;
  substr $$from, 0, $n, '';
  1;
}

sub has { my ($bits, $handle) = @_; $handle && vec $bits, fileno $handle, 1 }

sub answer { syswrite STDOUT, "$_[0]\n"; POSIX::_exit(0) }

$0 = 'connect-gateway-proxy';
my ($verb, $name, $turn, $out_from, $err_from, $linger, $tty, $want_in, $want_out, $want_err) = split ' ', $start;
my %seen;
my @places = grep { defined && m{^/} && !$seen{$_}++ && -d } $ENV{TMPDIR}, qw(/dev/shm /tmp /var/tmp /run), $ENV{HOME};

sub is_ours { my @s = lstat $_[0]; @s && S_ISDIR($s[2]) && $s[4] == $> && !($s[2] & 077) }

# When a living process was started: its number may be another's by now.
sub birth {
  open my $f, '<', "/proc/$_[0]/stat" or return '';
  my $stat = <$f> // '';
  my @stat = split ' ', $stat =~ s/.*\)//sr;
  $stat[0] eq 'Z' ? '' : $stat[19];
}

sub remove { my ($dir) = @_; opendir my $d, $dir or return; unlink map { "$dir/$_" } grep { !/^\.\.?$/ } readdir $d; rmdir $dir }

# What killed holders have left behind.
sub sweep {
  return unless -r '/proc/self/stat';
  for my $dir (map { glob s/([\\*?\[\]{}~\s])/\\$1/gr . "/$PREFIX*" } @places) {
    next if !is_ours($dir) || $dir =~ /\Q$name\E$/;
    open my $f, '<', "$dir/pid";
    my ($pid, $birth) = $f ? split ' ', <$f> // '' : ();
    next if $pid ? birth($pid) eq $birth : time - (lstat $dir)[9] < 60;
    remove($dir);
  }
}

# The streamer: carries bytes between the exec call and a holder that is there already.
sub stream_to {
  my ($folder) = @_;
  chdir $folder or answer('gone');
  my ($tries, $holder) = (0);
  for (;;) {
    socket $holder, PF_UNIX, SOCK_STREAM, 0;
    last if connect $holder, pack_sockaddr_un('socket');
    # It may just be starting.
    answer('gone') if ++$tries > ($! == ENOENT ? 150 : 10);
    select undef, undef, undef, 0.02;
  }
  my ($up, $down) = ($verb eq 'look' ? "look\n" : "join $turn $out_from $err_from $linger\n", '');
  my ($up_open, $down_open) = ($verb ne 'look', 1);
  unblock(\*STDIN, \*STDOUT, $holder);
  # The last words of a holder that has ended the connection get a moment.
  my $until;
  while ($down_open || length $down) {
    last if !$up_open && !length $up && $verb ne 'look';
    my ($r, $w) = ('', '');
    vec($r, 0, 1) = 1 if $up_open && $down_open && length $up < 65536;
    vec($r, fileno $holder, 1) = 1 if $down_open && length $down < 65536;
    vec($w, fileno $holder, 1) = 1 if $down_open && length $up;
    vec($w, 1, 1) = 1 if length $down;
    my $wait = defined $until ? $until - now() : undef;
    last if defined $wait && $wait <= 0;
    next if select($r, $w, undef, $wait) < 0;
    my $ended;
    if (vec $r, fileno $holder, 1) { $ended = 0 eq (drink($holder, \$down, 65536) // '') }
    if (vec $w, fileno $holder, 1) { $ended ||= !pour(\$up, $holder) }
    if ($ended) { ($down_open, $until) = (0, now() + 5) }
    if (vec $w, 1, 1) { pour(\$down, \*STDOUT) or last }
    # The exec call has been cut, or is over.
    if (vec $r, 0, 1) { $up_open = 0 if 0 eq (drink_call(\*STDIN, \$up) // '') }
  }
  POSIX::_exit(0);
}

my ($held) = grep { is_ours($_) } map { "$_/$PREFIX$name" } @places;
stream_to($held) if $held;
answer('gone') if $verb ne 'start';

# The holder, from here on.

# What the exec call came with: a shell drops names that it does not like, and adds its own.
my @environment = do {
  local $/;
  open my $f, '<', '/proc/' . getppid() . '/environ';
  $f ? split /\0/, <$f> // '' : ();
};
@environment = map { "$_=$ENV{$_}" } grep { !/^(?:PWD|OLDPWD|SHLVL|_)$/ } keys %ENV unless @environment;

# The kernel's numbers for what a terminal is asked; the PowerPC has its own.
my ($SET_LOCK, $GET_NUMBER, $SET_SIZE) =
  (POSIX::uname())[4] =~ /^ppc/ ? (0x80045431, 0x40045430, 0x80087467) : (0x40045431, 0x80045430, 0x5414);
my $SET_CONTROLLING = 0x540E;
my ($pty, $tty_name);
if ($tty) {
  my ($unlocked, $number) = (pack('i', 0), pack('i', 0));
  sysopen $pty, '/dev/ptmx', O_RDWR | O_NOCTTY and ioctl $pty, $SET_LOCK, $unlocked and ioctl $pty, $GET_NUMBER, $number
    or answer('plain no-pty');
  $tty_name = '/dev/pts/' . unpack 'i', $number;
}
my ($in_child, $in_ours, $out_child, $out_ours, $err_child, $err_ours);
unless ($tty) {
  !$want_in || pipe $in_child, $in_ours or answer('plain no-pipe');
  !$want_out || pipe $out_ours, $out_child or answer('plain no-pipe');
  !$want_err || pipe $err_ours, $err_child or answer('plain no-pipe');
}
pipe my $go_child, my $go or answer('plain no-pipe');
pipe my $failed, my $failed_child or answer('plain no-pipe');
my $mask = umask 077;

# The command stays in its own folder, and waits there until all is ready; then it tells if it cannot be executed.
my $command = fork;
answer('plain no-fork') unless defined $command;
unless ($command) {
  close $go;
  sysread $go_child, my $byte, 1 or POSIX::_exit(0);
  umask $mask;
  POSIX::setsid();
  my @std;
  if ($tty) {
    sysopen my $slave, $tty_name, O_RDWR or POSIX::_exit(127);
    ioctl $slave, $SET_CONTROLLING, 0;
    @std = ($slave) x 3;
  } else {
    sysopen my $null, '/dev/null', O_RDWR or POSIX::_exit(127);
    @std = ($in_child || $null, $out_child || $null, $err_child || $null);
  }
  POSIX::dup2(fileno $std[$_], $_) for 0 .. 2;
  %ENV = ();
  for (@environment) {
    my ($key, $value) = split /=/, $_, 2;
    $ENV{$key} = $value if defined $value && length $key;
  }
  $ENV{TERM} = 'xterm' if $tty;
  { no warnings; exec { $ARGV[0] } @ARGV }
  syswrite $failed_child, $! + 0;
  POSIX::_exit(127);
}
close $_ for grep { defined } $go_child, $failed_child, $in_child, $out_child, $err_child;
sub give_up { close $go; waitpid $command, 0 }

my ($folder, $listener);
for my $dir (map { "$_/$PREFIX$name" } @places) {
  unless (mkdir $dir, 0700) {
    next unless $! == EEXIST && is_ours($dir);
    # Another call of the same session was quicker.
    give_up();
    stream_to($dir);
  }
  socket $listener, PF_UNIX, SOCK_STREAM, 0;
  if (chdir $dir and open my $f, '>', 'pid' and bind $listener, pack_sockaddr_un('socket') and listen $listener, 8) {
    print $f "$$ ", birth($$), "\n";
    close $f;
    $folder = $dir;
    last;
  }
  chdir '/';
  remove($dir);
}
unless ($folder) { give_up(); answer('plain no-folder') }
# What is left of the folder, for so long, refuses a call to start this again that comes late.
my $refuse = 0;
sub forget {
  chdir '/';
  remove($folder) unless $refuse;
  unlink map { "$folder/$_" } qw(pid socket);
}
sub end { sleep $refuse if $refuse; remove($folder); POSIX::_exit(0) }

$SIG{PIPE} = 'IGNORE';
POSIX::setsid();
syswrite STDOUT, "begun\n";
syswrite $go, '.';
close $go;
if (sysread $failed, my $errno, 16) {
  forget();
  waitpid $command, 0;
  answer("plain exec-$errno");
}
close $failed;

my %streams;
$streams{out} = { handle => $tty ? $pty : $out_ours } if $tty || $want_out;
$streams{err} = { handle => $err_ours } if !$tty && $want_err;
%$_ = (%$_, buffer => '', base => 0, sent => 0) for values %streams;
sub sent { my ($name) = @_; $streams{$name} ? $streams{$name}{sent} : 0 }
my $stdin = $tty ? $pty : $in_ours;

# Input: bytes taken, those of them that are not yet written, and how many there will be.
my ($taken, $input, $ends_at) = (0, '', undef);
my ($exit_code, $heard) = (undef, now());
# $line is the connection to the daemon, $waiting one that has not yet said what it wants.
my ($line, $waiting, $bye, $left);
sub hello { "hold perl $taken " . sent('out') . ' ' . sent('err') . "\n" }

# The exec call's own ends, away from where they could be taken for anything else's.
open my $call_in, '<&', \*STDIN;
open my $call_out, '>&', \*STDOUT;
open STDIN, '<', '/dev/null';
open STDOUT, '>', '/dev/null';
open STDERR, '>', '/dev/null';
$line = { is_call => 1, in => $call_in, out => $call_out, from => '', to => hello() };
unblock($call_in, $call_out, $listener, grep { defined } $in_ours, map { $_->{handle} } values %streams);

# Readable once the command has ended (Linux 5.3); elsewhere it is looked for every second.
my $died = syscall 434, $command, 0;

sub hang {
  return unless $line;
  close $line->{in};
  close $line->{out};
  undef $line;
}

sub end_input {
  $line->{to} .= "in $taken\n" if $line && length $input;
  close $stdin if $stdin && !$tty;
  undef $stdin;
  $input = '';
}

sub hang_up {
  hang();
  undef $waiting;
  undef $listener;
  forget();
  $left = 1;
  end_input();
  delete $streams{out} if $tty;
  undef $pty;
  $_->{buffer} = '' for values %streams;
}

sub skip_to {
  my ($stream, $offset) = @_;
  return unless $stream && $offset > $stream->{base} && $offset <= $stream->{base} + length $stream->{buffer};
  substr $stream->{buffer}, 0, $offset - $stream->{base}, '';
  $stream->{base} = $offset;
}

sub take_input {
  my ($offset, $bytes) = @_;
  # What is missing in between was never sent: this is no holder's daemon.
  return hang() if $offset > $taken;
  my $new = $offset + length($bytes) - $taken;
  return if $new <= 0;
  $taken += $new;
  if ($stdin) { $input .= substr $bytes, -$new }
  else { $line->{to} .= "in $taken\n" }
}

sub obey {
  my ($word, @rest) = @_;
  if ($word eq 'got') { skip_to($streams{out}, $rest[0]); skip_to($streams{err}, $rest[1]) }
  elsif ($word eq 'size') {
    my $size = pack 'S4', $rest[1], $rest[0], 0, 0;
    ioctl $pty, $SET_SIZE, $size if $pty;
  }
  elsif ($word eq 'beat') { $line->{to} .= "beat\n" }
  elsif ($word eq 'refuse') { $refuse = $rest[0] }
  elsif ($word eq 'eof') { $ends_at = $rest[0] }
  elsif ($word eq 'leave' || $word eq 'done') {
    $linger = $rest[0] if $word eq 'leave';
    $bye = $word;
    $line->{to} .= "bye\n";
  }
  else { hang() }
}

sub listen_to {
  while ($line && !$bye && $line->{from} =~ /^([^\n]{0,99})\n/) {
    my ($said, $at) = ($1, $+[0]);
    if ($said =~ /^in (\d+) (\d+)$/) {
      # Whole, with the end of a line behind it.
      last if length $line->{from} <= $at + $2;
      my $bytes = substr $line->{from}, $at, $2;
      substr $line->{from}, 0, $at + $2 + 1, '';
      take_input($1, $bytes);
    } else {
      substr $line->{from}, 0, $at, '';
      obey(split / /, $said);
    }
  }
}

sub speak {
  for my $name (grep { $streams{$_} } qw(out err)) {
    my $stream = $streams{$name};
    while (length $line->{to} < 2 * $PIECE) {
      my $unsent = $stream->{base} + length($stream->{buffer}) - $stream->{sent};
      last if $unsent <= 0;
      my $n = $unsent > $PIECE ? $PIECE : $unsent;
      $line->{to} .= "$name $stream->{sent} $n\n" . substr $stream->{buffer}, $stream->{sent} - $stream->{base}, $n;
      $stream->{sent} += $n;
    }
  }
  return if !defined $exit_code || $line->{told};
  return if grep { $_->{handle} || $_->{sent} < $_->{base} + length $_->{buffer} } values %streams;
  $line->{told} = 1;
  $line->{to} .= "exit $exit_code " . sent('out') . ' ' . sent('err') . "\n";
}

# Whoever has knocked takes over, or only looks.
sub admit {
  return unless $waiting->{from} =~ s/^([^\n]{0,99})\n//;
  my ($word, $their_turn, $out, $err, $their_linger) = split / /, $1;
  if ($word ne 'join' || $their_turn < $turn) {
    syswrite $waiting->{out}, $word eq 'look' ? sprintf("look %d\n", $line ? $linger : $heard + $linger - now()) : "taken\n";
    undef $waiting;
    return;
  }
  $heard = now();
  syswrite $line->{out}, "taken\n" if $line && !length $line->{to};
  hang();
  ($turn, $linger) = ($their_turn, $their_linger);
  skip_to($streams{out}, $out);
  skip_to($streams{err}, $err);
  $_->{sent} = $_->{base} for values %streams;
  $line = { %$waiting, to => hello() };
  undef $waiting;
}

my $swept;
for (;;) {
  listen_to();
  end_input() if $stdin && !length $input && defined $ends_at && $ends_at <= $taken && !$tty;
  speak() if $line && !$bye;
  if ($bye && !($line && length $line->{to})) {
    hang();
    if ($bye eq 'done') { forget(); end() }
    undef $bye;
  }
  end() if $left && defined $exit_code && !grep { $_->{handle} } values %streams;

  my $wait;
  unless ($left) {
    $wait = $heard + ($line && $linger < $SILENCE ? $SILENCE : $linger) - now();
    if ($wait <= 0) { hang_up(); next }
  }
  $wait = 1 if $died < 0 && !defined $exit_code && !(defined $wait && $wait < 1);
  my ($r, $w) = ('', '');
  vec($r, $died, 1) = 1 if $died >= 0;
  vec($r, fileno $listener, 1) = 1 if $listener;
  vec($r, fileno $waiting->{in}, 1) = 1 if $waiting;
  vec($r, fileno $line->{in}, 1) = 1 if $line && !$bye && length $input < $INPUT_WINDOW;
  vec($w, fileno $line->{out}, 1) = 1 if $line && length $line->{to};
  vec($w, fileno $stdin, 1) = 1 if $stdin && length $input;
  for (values %streams) { vec($r, fileno $_->{handle}, 1) = 1 if $_->{handle} && length $_->{buffer} < $WINDOW }
  if (select($r, $w, undef, $wait) < 0) { $r = $w = '' }

  for my $stream (grep { has($r, $_->{handle}) } values %streams) {
    my $n = drink($stream->{handle}, \$stream->{buffer}, 65536);
    undef $stream->{handle} if defined $n && !$n;
    $stream->{buffer} = '' if $left;
  }
  if (!defined $exit_code && ($died < 0 || vec $r, $died, 1) && waitpid($command, POSIX::WNOHANG()) == $command) {
    $exit_code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    POSIX::close($died) if $died >= 0;
    $died = -1;
    end_input();
    if ($tty && $streams{out}) {
      # Its terminal has been hung up: what it has left behind may hold it open, and can write no more.
      my $stream = $streams{out};
      1 while $stream->{handle} && drink($stream->{handle}, \$stream->{buffer}, 65536);
      undef $stream->{handle};
    }
  }
  if (has($w, $stdin)) {
    my $before = length $input;
    pour(\$input, $stdin) or end_input();
    $line->{to} .= 'in ' . ($taken - length $input) . "\n" if $line && length $input < $before;
  }
  if ($line && has($w, $line->{out})) { pour(\$line->{to}, $line->{out}) or hang() }
  if ($line && has($r, $line->{in})) {
    $heard = now();
    my $n = $line->{is_call} ? drink_call($line->{in}, \$line->{from}) : drink($line->{in}, \$line->{from}, 65536);
    hang() if defined $n && !$n && !$bye;
  }
  if ($waiting && has($r, $waiting->{in})) {
    my $n = drink($waiting->{in}, \$waiting->{from}, 4096);
    if (defined $n && !$n) { undef $waiting } else { admit() }
  }
  if (has($r, $listener) && accept my $guest, $listener) {
    unblock($guest);
    $waiting = { in => $guest, out => $guest, from => '' };
  }
  sweep() unless $swept++;
}
