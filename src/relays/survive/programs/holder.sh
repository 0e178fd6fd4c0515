# The holder and its streamer for a container that has neither Perl nor Python: POSIX sh, and what Debian's coreutils and
# busybox have. docs/survive.md describes both, and what they say. The bootstrap has read the first line into verb, name,
# turn, out_from, err_from, linger, tty, want_in, want_out, want_err; "$@" is the client's command.
#
# Here several processes do what is one elsewhere: they speak by FIFOs in the session's folder, which are opened for
# reading and writing, so that nobody waits for anybody to open the other end.
#   out, err, in    the command's own
#   feed            input, to whoever writes it to the command
#   oa, ea          what has been acknowledged, to whoever reads out and err
#   note.TURN       what the streamer of that turn is to tell; the newest of the files turn.TURN is the one to be told
#   fin             that it is all over
# A folder without the file `kept` is being given up.
# Output lies in numbered files, at most MOST of each stream; out.at.NUMBER tells where such a file begins and how long it
# is, once it is whole.
exec 3<&0 4>&1 </dev/null >/dev/null 2>&1
MOST=16
newline='
'
# Bytes are characters, and numbers are said in English. The environment may hold anything under the other names.
LC_ALL=C child= parent= nap=
say() { printf '%s\n' "$*" >&4; }

# Sets born: when a living process was started. Its number may be another's by now.
birth() {
  born=
  read -r stat <"/proc/$1/stat" || return
  set -- ${stat##*) }
  [ "$1" = Z ] || born=${20}
}

is_held() {
  read -r pid then <pid
  birth "$pid"
  [ -n "$then" ] && [ "$born" = "$then" ]
}

# Sets newest.
find_newest() {
  newest=0
  for mark in turn.[0-9]*; do
    [ "${mark#turn.}" = '[0-9]*' ] || [ "${mark#turn.}" -le "$newest" ] || newest=${mark#turn.}
  done
}

tell() {
  find_newest
  [ -p "note.$newest" ] && printf '%s\n' "$1" 1<>"note.$newest"
}

# Nobody will come any more: a terminal is hung up, anything else goes on without a reader, as it would have.
hang_up() {
  if [ "$tty" = 1 ]; then
    [ -n "$parent" ] || read -r child parent <who
    kill -HUP "$child" "-$child"
  fi
  # First: whoever misses another file finds that this one is missing, too.
  rm -f kept
  echo left >&7
  echo left >&8
  echo left >&9
  echo left 1<>fin
  rm -f ./*
  [ "$tty" = 1 ] || return
  # Whoever stays loses the terminal.
  for try in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 "$parent" || return
    sleep 0.1 || sleep 1
  done
  kill -KILL "$parent"
}

# Reads what the command writes from 5. Arguments, from here on, are the ends of the pieces that wait.
pump() {
  name=$1 number=100000000 at=0
  set --
  trap '' PIPE
  echo 0 >$name.end
  while :; do
    while [ $# -ge $MOST ]; do
      read -r got <&8
      [ "$got" = left ] && exec cat <&5
      while [ $# -gt 0 ] && [ "$1" -le "$got" ]; do shift; done
    done
    [ -e kept ] || exec cat <&5
    number=$((number + 1))
    dd bs=65536 count=1 of=$name.$number <&5 2>$name.said
    records= size=
    { read -r records; read -r line; read -r size line; } <$name.said
    case $records,$size in
      1+0*) size=65536 ;;
      *,'' | *,*[!0-9]*) size=$((0 + $(wc -c <$name.$number || echo 0))) ;;
    esac
    # Before the files are believed: they may have been removed meanwhile.
    [ -e kept ] || exec cat <&5
    [ "$size" = 0 ] && break
    at=$((at + size))
    set -- "$@" $at
    echo "$((at - size)) $size" >$name.at.$number
    echo $at >$name.end
    tell "$name $number $((at - size)) $size"
  done
  rm -f $name.$number
}

# Writes input to the command, at 5. What comes again after a cut is known by its offset.
feed() {
  taken=0 old= olds=0
  trap '' PIPE
  echo 0 >taken
  while read -r word offset size what <&7; do
    case $word in
      in | type)
        known=$((taken - offset))
        if [ $known -lt 0 ] || [ $known -ge "$size" ]; then
          [ "$word" = type ] || rm -f "$what"
          tell "in $taken"
          continue
        fi
        taken=$((offset + size))
        echo $taken >taken
        if [ "$word" = type ]; then
          while [ $known -gt 0 ]; do what=${what#????} known=$((known - 1)); done
          printf "$what" >&5
        else
          if [ $known -gt 0 ]; then tail -c +$((known + 1)) "$what"; else cat "$what"; fi >&5
          # A process for each would cost as much as the writing.
          old="$old $what" olds=$((olds + 1))
          [ $olds -lt 4 ] || { rm -f $old; old= olds=0; }
        fi
        tell "in $taken"
        ;;
      # A terminal has no end of its input.
      eof) [ "$tty" = 1 ] || exec 5>&- ;;
      left) return ;;
    esac
  done
}

# Looks after a daemon that does not come back.
watch() {
  idle=0 last=
  trap 'kill $nap; exit 0' TERM
  while :; do
    sleep 5 &
    nap=$!
    wait $nap
    # Somebody has removed the folder: nobody can come any more.
    [ -e kept ] || { hang_up; break; }
    [ -n "$parent" ] || read -r child parent <who
    read -r beat <beat
    if [ "$beat" = "$last" ]; then idle=$((idle + 5)); else idle=0 last=$beat; fi
    read -r patience <linger || continue
    [ -e lost ] || [ "$patience" -ge 60 ] || patience=60
    [ $idle -lt "$patience" ] || { hang_up; break; }
    echo $((patience - idle)) >ends
  done
}

# What killed holders have left behind.
sweep() {
  for place in "$TMPDIR" /dev/shm /tmp /var/tmp /run "$HOME"; do
    for dir in "${place:-/none}"/.connect-gateway-proxy-*; do
      [ -d "$dir" ] && [ -O "$dir" ] && [ "$dir" != "$folder" ] && [ -r /proc/self/stat ] || continue
      if read -r pid then <"$dir/pid"; then
        birth "$pid"
        [ "$born" = "$then" ] && continue
      else
        [ -n "$(find "$dir" -prune -mmin +1)" ] || continue
      fi
      rm -f "$dir"/*
      rmdir "$dir"
    done
  done
}

# Prints a word as a shell reads it back.
quoted() {
  rest=$1 text=
  while :; do
    case $rest in
      *\'*) text=$text${rest%%\'*}"'\\''" rest=${rest#*\'} ;;
      *) break ;;
    esac
  done
  printf " '%s'" "$text$rest"
}

# The command, whose arguments are behind those of its environment. No background process of a shell could be it: those
# ignore Ctrl-C.
run() (
  exec 7<&- 8<&- 9<&-
  umask "$mask"
  if [ "$tty" = 1 ]; then
    export SHELL=/bin/sh cgp_folder="$folder"
    exec 9<"$folder/run" <"$folder/in" >"$folder/out"
    cd "$here"
    exec script -qefc '{ stty echo; { echo "$$ $PPID"; tty; } >"$cgp_folder/who"
      read -r rows columns <"$cgp_folder/size" && stty rows "$rows" cols "$columns"; } 2>/dev/null
      eval "$(cat <&9)"' /dev/null
  fi
  [ "$want_in" = 1 ] && exec <"$folder/in"
  [ "$want_out" = 1 ] && exec >"$folder/out"
  [ "$want_err" = 1 ] && exec 2>"$folder/err"
  cd "$here"
  has setsid && exec setsid env -i "$@"
  exec env -i "$@"
)

hold() {
  read -r self line </proc/self/stat
  birth "$self"
  echo "$self $born" >pid
  exec 7<>feed 8<>oa 9<>ea
  watch 5<&- &
  watching=$!
  # The files of what is open tell the streamer that it is.
  pumping=
  [ "$want_out" = 1 ] || echo 0 >out.end
  [ "$want_err" = 1 ] || echo 0 >err.end
  [ "$want_out" = 1 ] && { (exec 5<out 7<&- 9<&-; pump out) & pumping=$!; }
  [ "$want_err" = 1 ] && { (exec 5<err 7<&- 8<&9 9<&-; pump err) & pumping="$pumping $!"; }
  (if [ "$want_in" = 1 ]; then exec 5>in; else exec 5>/dev/null; fi; feed) &
  feeding=$!
  sweep &
  sweeping=$!
  run "$@"
  code=$?
  # What it has left behind may write on.
  [ -n "$pumping" ] && wait $pumping
  kill $feeding
  if [ -e kept ]; then
    read -r out_end <out.end
    read -r err_end <err.end
    echo "$code $out_end $err_end" >exit
    exec 6<>fin
    tell "exit $code $out_end $err_end"
    read -r word <&6
  fi
  kill $watching
  wait $watching $feeding $sweeping
  rm -f ./*
  cd /
  rmdir "$folder"
}

# Reads what the daemon says.
hear() {
  number=0 beats=0 got_out= got_err=
  while read -r word a b c <&3; do
    beats=$((beats + 1))
    echo "$turn $beats" >beat
    case $word in
      type) printf '%s\n' "type $a $b $c" >&7 ;;
      in)
        number=$((number + 1))
        dd bs="$b" count=1 iflag=fullblock of=in.$turn.$number <&3
        # The end of a line behind it: it is whole.
        read -r word <&3 || { rm -f in.$turn.$number; break; }
        echo "in $a $b in.$turn.$number" >&7
        ;;
      got)
        [ "$a" = "$got_out" ] || echo "$a" >&8
        [ "$b" = "$got_err" ] || echo "$b" >&9
        got_out=$a got_err=$b
        echo "got $a $b" >&6
        ;;
      size)
        echo "$b $a" >size
        [ "$tty" = 1 ] && { read -r word; read -r terminal; } <who && stty -F "$terminal" rows "$b" cols "$a"
        ;;
      eof) echo "eof $a" >&7 ;;
      beat) echo beat >&6 ;;
      leave | done)
        echo bye >&6
        if [ "$word" = done ]; then echo done 1<>fin
        elif [ "$a" = 0 ]; then hang_up
        else
          echo "$a" >linger
          : >lost
        fi
        return
        ;;
    esac
  done
  : >lost
  echo lost >&6
}

# A few bytes, as keys are answered with, without a process. A shell has no zero byte: then some are missing.
deliver() {
  delivered=$((delivered + 1))
  say "$1 $3 $4"
  if [ "$4" -le 256 ]; then
    {
      text= line=
      while IFS= read -r line; do text=$text$line$newline; done
      text=$text$line
    } <"$1.$2"
    [ ${#text} = "$4" ] && { printf %s "$text" >&4; return; }
  fi
  cat "$1.$2" >&4
}

# Removes the pieces of a stream that have come.
forget() {
  set -- "$1" "$2" ''
  for at in "$1".at.*; do
    read -r start size <"$at" && [ $((start + size)) -le "$2" ] && set -- "$1" "$2" "$3 $at $1.${at##*.}"
  done
  [ -z "$3" ] || rm -f $3
}

# Sets from_here, where a stream goes on after what has come, and adds to waiting what is there of it.
look_at() {
  # Files are not written at once: an empty one is read again.
  until read -r end <"$1.end"; do [ -e kept ] || return; done
  from_here=
  for at in "$1".at.*; do
    # One that is not whole yet will be told of.
    read -r start size <"$at" || continue
    if [ $((start + size)) -le "$2" ]; then rm -f "$at" "$1.${at##*.}"; continue; fi
    from_here=${from_here:-$start}
    waiting="$waiting $1 ${at##*.} $start $size"
  done
  [ -n "$from_here" ] || from_here=$end
}

stream() {
  mkfifo "note.$turn"
  exec 6<>"note.$turn" 7<>feed 8<>oa 9<>ea
  : >"turn.$turn"
  for mark in turn.[0-9]*; do
    before=${mark#turn.}
    if [ "$before" -gt "$turn" ]; then
      say taken
      rm -f "turn.$turn" "note.$turn"
      return
    fi
    [ "$before" != "$turn" ] || continue
    [ -p "note.$before" ] && echo taken 1<>"note.$before"
    rm -f "turn.$before" "note.$before"
  done
  echo "$linger" >linger
  echo "$turn" >beat
  rm -f lost
  waiting= ended= delivered=0
  read -r code ends <exit && ended="exit $code $ends"
  until read -r taken <taken; do [ -e kept ] || return; done
  look_at out "$out_from"
  next_out=$from_here
  look_at err "$err_from"
  next_err=$from_here
  say "hold sh $taken $next_out $next_err"
  # Who joins acknowledges by that: the word for it may have been lost in the cut.
  echo "$out_from" >&8
  echo "$err_from" >&9
  hear &
  hearing=$!
  set -- $waiting
  while [ $# -gt 0 ]; do
    deliver "$1" "$2" "$3" "$4"
    if [ "$1" = out ]; then next_out=$(($3 + $4)); else next_err=$(($3 + $4)); fi
    shift 4
  done
  [ -n "$ended" ] && say "$ended"
  while read -r word a b c <&6; do
    case $word in
      out) [ "$b" -ge "$next_out" ] && { deliver out "$a" "$b" "$c"; next_out=$((b + c)); } ;;
      err) [ "$b" -ge "$next_err" ] && { deliver err "$a" "$b" "$c"; next_err=$((b + c)); } ;;
      got)
        # It costs a process: not for every key.
        [ $delivered -lt 8 ] || { forget out "$a"; forget err "$b"; delivered=0; }
        ;;
      in) say "in $a" ;;
      exit) say "exit $a $b $c" ;;
      beat)
        is_held || break
        say beat
        ;;
      bye | taken)
        say "$word"
        break
        ;;
      lost) break ;;
    esac
  done
  [ "$word" = bye ] || kill $hearing
  wait $hearing
}

plain() { say "plain $1"; exit 0; }

# Where the container's runtime would find it.
runnable() {
  case $1 in
    */*) [ -f "$1" ] && [ -x "$1" ] && return ;;
    ?*)
      rest=$PATH:
      while [ -n "$rest" ]; do
        [ -f "${rest%%:*}/$1" ] && [ -x "${rest%%:*}/$1" ] && return
        rest=${rest#*:}
      done
      ;;
  esac
  return 1
}

# Joins what is held in the folder, if it is one of ours.
join_there() {
  [ -d "$folder" ] && [ -O "$folder" ] && [ ! -h "$folder" ] || return
  cd "$folder"
  # It may just be starting.
  for try in 1 2 3 4 5 6 7 8 9 10; do
    [ -s pid ] && break
    sleep 0.2 || sleep 1
  done
  is_held || { say gone; exit 0; }
  if [ "$verb" = look ]; then
    read -r left <ends || read -r left <linger
    say "look $left"
  else
    stream
  fi
  exit 0
}

for place in "$TMPDIR" /dev/shm /tmp /var/tmp /run "$HOME"; do
  folder=$place/.connect-gateway-proxy-$name
  join_there
done
[ "$verb" = start ] || { say gone; exit 0; }

for tool in mkfifo mkdir cat rm rmdir env tr dd sleep wc; do has $tool || plain no-$tool; done
if [ "$tty" = 1 ]; then
  has script && has stty && [ -c /dev/ptmx ] || plain no-pty
  case $(script --version) in *util-linux*) ;; *) plain no-pty ;; esac
  want_in=1 want_out=1 want_err=0
fi
case $1 in *=*) plain odd-name ;; esac
runnable "$1" || plain exec-2

here=$PWD
mask=$(umask)
umask 077
for place in "$TMPDIR" /dev/shm /tmp /var/tmp /run "$HOME" ''; do
  folder=$place/.connect-gateway-proxy-$name
  case $place in /*) ;; '') plain no-folder ;; *) continue ;; esac
  # Where another call of the same session was quicker, it is joined.
  mkdir "$folder" || { join_there; continue; }
  cd "$folder" && mkfifo in out err feed oa ea fin && break
  rm -f "$folder"/*
  rmdir "$folder"
done
echo >kept

# What the exec call came with: this shell has dropped names that it does not like, and added its own.
lines=$#
mark=$(printf '\001')
tr '\n\000' '\001\n' <"/proc/$$/environ" >environ
while IFS= read -r entry; do
  case $entry in *"$mark"*)
    rest=$entry entry=
    while :; do
      case $rest in *"$mark"*) entry=$entry${rest%%"$mark"*}$newline rest=${rest#*"$mark"} ;; *) break ;; esac
    done
    entry=$entry$rest
    ;;
  esac
  case $entry in
    '' | =*) continue ;;
    TERM=*) [ "$tty" = 1 ] && continue ;;
  esac
  set -- "$@" "$entry"
done <environ
rm -f environ
[ "$tty" = 1 ] && set -- "$@" TERM=xterm
# The command behind its environment.
while [ "$lines" -gt 0 ]; do
  set -- "$@" "$1"
  shift
  lines=$((lines - 1))
done
[ "$tty" = 1 ] && {
  printf 'exec env -i'
  for word; do quoted "$word"; done
  echo ' 9<&-'
} >run

say begun
(exec 3<&- 4>&- >/dev/null; hold "$@") | stream
exit 0
