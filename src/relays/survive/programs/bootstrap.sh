# Sent as `sh -c` with the exec call, so it is short; the rest comes by stdin: a line that says what is wanted, then
# three programs, of PERL, PYTHON and SHELL bytes. The first interpreter that is there, and whole, runs its own and
# skips the others. The client's command is "$@". 97: try the next one.
has() { command -v "$1" >/dev/null 2>&1; }
code=97
has perl && {
PERL5OPT= PERL5LIB= perl -C0 -e 'eval{require POSIX;require Socket;require Fcntl;require Errno;1}||exit 97;binmode STDIN;our($start,$skip)=("",PYTHON+SHELL);sub take{my($n,$b)=(@_,"");while(length$b<$n){sysread(STDIN,$b,$n-length$b,length$b)||exit 1}$b}$start.=take(1)until$start=~/\n/;my$p=take(PERL);eval$p;die$@if$@' -- "$@" 2>/dev/null
code=$?
}
[ $code = 97 ] && has python3 && {
python3 -ISc 'import os
try: import fcntl,select,signal,socket,termios
except ImportError: os._exit(97)
def take(n):
 b=b""
 while len(b)<n:
  c=os.read(0,n-len(b))
  if not c: os._exit(1)
  b+=c
 return b
start=b""
while start[-1:]!=b"\n": start+=take(1)
take(PERL);skip=SHELL;exec(take(PYTHON).decode())' "$@" 2>/dev/null
code=$?
}
[ $code = 97 ] && read -r verb name turn out_from err_from linger tty want_in want_out want_err && {
take() { dd bs=$1 count=1 iflag=fullblock 2>/dev/null; }
take $((PERL+PYTHON)) >/dev/null
eval "$(take SHELL)"
}
exit $code
