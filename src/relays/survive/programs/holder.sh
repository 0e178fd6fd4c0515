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
#   live.TURN       what the command writes to stdout, for the streamer of that turn
#   go.0, go.1      for whom the next file of stdout is, to what waits to copy it
#   fin             that it is all over
# A folder without the file `kept` is being given up.
#
# Whoever ends waits for what it has started: of what is left to a container's first process, many never hear the end.
#
# After the line `hold` the exec call's stdout is the command's, byte for byte, and its stderr has the words: no process is
# started for what is written, which is what costs a shell its time. `tee` writes it to a file first, and then to
# live.TURN, from where a `cat` of the streamer takes it. A file is of READS reads, or of CHUNK bytes where much is written;
# the next goes to whoever is the newest by then. Who joins in the midst of a file sends what is there of it, and more of it
# whenever anything comes out of the older live.TURN.
# The command's stderr comes in pieces of one read, a file each; err.at.NUMBER tells where it begins and how long it is,
# once it is whole.
exec 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>&1
# Of stderr, in pieces.
MOST=16
# Of stdout: the bytes of a file, and what it is of where little is written; how many there may be, and how far the first may
# lie behind.
CHUNK=4194304 READS=64 CHUNKS=32 BEHIND=4194304
newline='
'
# Bytes are characters, and numbers are said in English. The environment may hold anything under the other names.
LC_ALL=C child= child_born= parent= parent_born= pump= pump_born=
say() { printf '%s\n' "$*" >&4; }
answer() { printf '%s\n' "$*" >&5; }

# Sets born: when a living process was started. Its number may be another's by now.
birth() {
  born=
  read -r stat <"/proc/$1/stat" || return
  set -- ${stat##*) }
  [ "$1" = Z ] || born=${20}
}

# Whether the process lives that a file names.
lives() {
  pid= then=
  read -r pid then <"$1"
  birth "$pid"
  [ -n "$then" ] && [ "$born" = "$then" ]
}

name_in() {
  birth "$2"
  echo "$2 $born" >"$1"
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

# Finds the terminal's first process, and what gives the terminal.
find_terminal() {
  [ -z "$parent" ] || return 0
  read -r child parent <who || return
  birth "$child"
  child_born=$born
  birth "$parent"
  parent_born=$born
}

# Whether a process is the one that was started then.
is_still() {
  birth "$1"
  [ -n "$born" ] && [ "$born" = "$2" ]
}

# As the kernel does: the first process and who is in the foreground, each once. A shell that is told twice may end before it
# has told its jobs.
hang_up_terminal() {
  read -r stat <"/proc/$child/stat"
  set -- ${stat##*) }
  case $6 in
    "$child" | -* | 0) kill -HUP "-$child" ;;
    *) kill -HUP "$child" "-$6" ;;
  esac
}

# Nobody will come any more: a terminal is hung up, anything else goes on without a reader, as it would have.
hang_up() {
  # First: whoever misses another file finds that this one is missing, too, and a terminal that is just being made that it is
  # not wanted any more, be it that it tells too late who it is.
  rm -f kept
  [ "$tty" = 1 ] && find_terminal && is_still "$child" "$child_born" && hang_up_terminal
  echo left >&7
  echo left >&8
  echo left >&9
  echo left 1<>fin
  # It may wait for a reader that is gone.
  [ -n "$pump" ] || read -r pump pump_born <pump
  is_still "$pump" "$pump_born" && kill -TERM "$pump"
  # Whoever stays loses the terminal.
  [ "$tty" = 1 ] && for try in 1 2 3 4 5 6 7 8 9 10 11; do
    is_still "$parent" "$parent_born" || break
    [ $try -lt 11 ] || kill -KILL "$parent"
    sleep 0.1 || sleep 1
  done
  # Last: without them nobody could do it in our place. Who waits for another end to be opened waits no longer.
  rm -f ./* in <>in
}

# Sets size: how many bytes dd has copied, of whose last words this is the file, in blocks of so many; and untold where they do
# not say it.
copied() {
  records= size= untold=
  # It may warn as well.
  while read -r count what line; do
    case $what in
      records) records=${records:-$count} ;;
      bytes) size=$count ;;
    esac
  done <"$1"
  case $records,$size in
    *+0,*) size=$((${records%+0} * $2)) ;;
    *,'' | *,*[!0-9]*) size=$((0 + $(wc -c <"$3" || echo 0))) untold=1 ;;
  esac
}

# Starts what copies the next file of stdout once it is told for whom, so that it is there by then: on a slow machine it takes
# longer to start than to copy. It ends by itself when this shell does. Sets ready.
prepare() {
  length=$block count=$READS
  [ -z "$much" ] || count=$((CHUNK / length))
  # bash that has to act upon a signal while it starts a pipeline waits for the part that it has started. Nothing is missed:
  # who tells has removed `kept` before.
  trap '' TERM
  turnstile=go.$((number % 2)) chunk=out.$((number % (2 * CHUNKS))) said=said.$((number % 2))
  {
    exec 4<$turnstile 6>&- 7>&-
    read -r listener <&4 && echo "$listener" && exec dd bs=$length count=$count <&5 2>$said
  } | {
    exec 5<&- 6>&- 7>&-
    read -r listener && exec tee "live.$listener" >"$chunk" 9<>"live.$listener"
  } &
  ready=$!
  trap "$when_told" TERM
  [ -e kept ] || eval "$when_told"
}

# Becomes what reads on for nobody, once what has been started for files is over: dd, which may read still, with the next
# that it reads. Who hangs up tells it once more, and must not leave the command without a reader.
drain() {
  trap '' TERM
  exec 6>&- 7>&-
  wait
  exec cat <&5
}

# Reads the command's stdout from 5. Arguments, from here on, are where the files begin that are kept, the first of them
# with this number; what is acknowledged comes by 8, with the turn of who has said so.
pump_out() {
  first=1 number=1 at=0 listener= since= teeing= by=0 got=0 block=16384 much=
  echo 0 >out.end
  exec 6<>go.0 7<>go.1
  set -- 0
  # It was started with TERM ignored.
  when_told='[ -z "$teeing" ] || kill -KILL $teeing; [ -e kept ] || drain'
  prepare
  while [ -e kept ]; do
    # All that has been said until now; then one by one, until there is room.
    echo mark >&8
    read_all=
    while read -r word offset <&8; do
      case $word in
        left) drain ;;
        mark) read_all=1 ;;
        *) [ "$word" -lt "$by" ] || by=$word got=$offset ;;
      esac
      [ -n "$read_all" ] || continue
      find_newest
      while [ "$newest" = "$by" ] && [ $# -gt 1 ] && [ "$2" -le "$got" ]; do
        start=$1
        shift
        echo "$listener $since $((first + 1)) $*" >map
        # Whoever has come meanwhile counts on what it has seen there.
        find_newest
        if [ "$newest" = "$by" ]; then
          : >out.$((first % (2 * CHUNKS)))
          first=$((first + 1))
        else
          set -- "$start" "$@"
        fi
      done
      [ $# -le $CHUNKS ] && [ $((at - $1)) -le $BEHIND ] && break
    done
    before=$listener
    while :; do
      find_newest
      [ "$newest" = "$listener" ] || listener=$newest since=$at
      echo "$listener $since $first $*" >map
      # Whoever has come meanwhile may have read an older one.
      find_newest
      [ "$newest" = "$listener" ] && break
    done
    teeing=$ready
    echo "$listener" 1<>$turnstile
    [ "$listener" = "$before" ] || {
      tell map
      [ -z "$before" ] || rm -f "live.$before"
    }
    written=$chunk told=$said of=$length full=$((count * length))
    number=$((number + 1))
    prepare
    wait $teeing
    teeing=
    copied "$told" $of "$written"
    if [ "$size" -ge $((full / 2)) ]; then much=1; else much=; fi
    # Most programs write as much at once: whole blocks are counted without a process.
    [ -z "$untold" ] || block=4096
    # Before the files are believed: they may have been removed meanwhile.
    [ -e kept ] || break
    if [ "$size" = 0 ]; then
      exec 6>&- 7>&-
      wait
      return
    fi
    at=$((at + size))
    set -- "$@" $at
    echo $at >out.end
  done
  drain
}

# Reads the command's stderr from 5. Arguments, from here on, are the ends of the pieces that wait.
pump_err() {
  number=100000000 at=0
  set --
  echo 0 >err.end
  while :; do
    while [ $# -ge $MOST ]; do
      read -r got <&8
      [ "$got" = left ] && exec cat <&5
      while [ $# -gt 0 ] && [ "$1" -le "$got" ]; do shift; done
    done
    [ -e kept ] || exec cat <&5
    number=$((number + 1))
    dd bs=65536 count=1 of=err.$number <&5 2>err.said
    copied err.said 65536 err.$number
    [ -e kept ] || exec cat <&5
    [ "$size" = 0 ] && break
    at=$((at + size))
    set -- "$@" $at
    echo "$((at - size)) $size" >err.at.$number
    echo $at >err.end
    tell "err $number $((at - size)) $size"
  done
  rm -f err.$number
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
          : >"$what"
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
  # Of the shell that has started this one, at first.
  idle=0 last= before=$!
  trap '[ "$!" = "$before" ] || { kill $!; wait $!; }; exit 0' TERM
  while :; do
    sleep 5 &
    wait $!
    before=$!
    # Somebody has removed the folder: nobody can come any more.
    [ -e kept ] || { hang_up; break; }
    find_terminal
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
      rm -f "$dir"/* "$dir/.refuse"
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
    exec 9<"$folder/run" <"$folder/in" >&3 3>&-
    cd "$here"
    # Whoever hangs up meanwhile has removed `kept` before.
    exec script -qefc 'trap "" HUP
      { stty echo; { echo "$$ $PPID"; tty; } >"$cgp_folder/who"
      read -r rows columns <"$cgp_folder/size" && stty rows "$rows" cols "$columns"; } 2>/dev/null
      trap - HUP
      [ -e "$cgp_folder/kept" ] || exit
      . /proc/self/fd/9' /dev/null
  fi
  [ "$want_in" = 1 ] && exec <"$folder/in"
  [ "$want_out" = 1 ] && exec >&3 3>&-
  [ "$want_err" = 1 ] && exec 2>&4 4>&-
  cd "$here"
  has setsid && exec setsid env -i "$@"
  exec env -i "$@"
)

hold() {
  read -r self line </proc/self/stat
  birth "$self"
  echo "$self $born" >pid
  exec 7<>feed 8<>oa 9<>ea
  # The files of what is open tell the streamer that it is.
  pumping=
  [ "$want_out" = 1 ] || echo 0 >out.end
  [ "$want_err" = 1 ] || echo 0 >err.end
  # The command's ends, 3 and 4, are open before it and its readers begin: whoever hangs up meanwhile takes away names alone.
  [ "$want_out" = 1 ] && {
    exec 6<>out 5<out 3>out 6>&-
    # Until it can act upon it.
    (trap '' PIPE TERM; exec 3>&- 7<&- 9<&-; pump_out) &
    pumping=$!
    name_in pump $pumping
    pump=$pumping pump_born=$born
  }
  [ "$want_err" = 1 ] && {
    exec 6<>err 5<err 4>err 6>&-
    (exec 3>&- 4>&- 7<&- 8<&9 9<&-; pump_err) &
    pumping="$pumping $!"
  }
  exec 5<&-
  (exec 3>&- 4>&-; if [ "$want_in" = 1 ]; then exec 5>in; else exec 5>/dev/null; fi; feed) &
  feeding=$!
  (exec 3>&- 4>&-; watch) &
  watching=$!
  (exec 3>&- 4>&-; sweep) &
  sweeping=$!
  run "$@"
  code=$?
  exec 3>&- 4>&-
  rm -f who
  # What it has left behind may write on.
  [ -n "$pumping" ] && wait $pumping
  # Whoever still writes to it finds that it has ended.
  echo left >&7
  if [ -e kept ]; then
    read -r out_end <out.end
    read -r err_end <err.end
    echo "$code $out_end $err_end" >exit
    exec 6<>fin
    tell "exit $code $out_end $err_end"
    read -r word <&6
  fi
  kill $watching
  # One that feeds for much longer does so for what the command has left behind, which does not read.
  for try in 1 2 3 4 5 6 7 8 9 10; do
    birth $feeding
    [ -n "$born" ] || break
    sleep 0.1 || sleep 1
  done
  kill $feeding
  wait $watching $feeding $sweeping
  refuse=
  [ ! -e .refuse ] || read -r refuse <.refuse
  cd /
  # A streamer that is about to end may write one more file.
  for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -f "$folder"/* "$folder/.refuse"
    [ -z "$refuse" ] || sleep "$refuse"
    refuse=
    rmdir "$folder" && break
    sleep 0.1 || sleep 1
  done
}

# Reads what the daemon says.
hear() {
  number=0 beats=0 got_out= got_err=
  while read -r word a b c <&3; do
    case $word in
      # Too many to note each; a beat comes by itself.
      type | got) ;;
      *)
        beats=$((beats + 1))
        echo "$turn $beats" >beat
        ;;
    esac
    case $word in
      type) printf '%s\n' "type $a $b $c" >&7 ;;
      in)
        number=$((number + 1))
        block=$b
        [ $((b % 65536)) != 0 ] || block=65536
        dd bs="$block" count=$((b / block)) iflag=fullblock of=in.$turn.$number <&3
        # The end of a line behind it: it is whole.
        read -r word <&3 || { rm -f in.$turn.$number; break; }
        echo "in $a $b in.$turn.$number" >&7
        ;;
      got)
        [ "$a" = "$got_out" ] || echo "$turn $a" >&8
        [ "$b" = "$got_err" ] || {
          echo "$b" >&9
          echo "got $b" >&6
        }
        got_out=$a got_err=$b
        ;;
      size)
        echo "$b $a" >size
        [ "$tty" = 1 ] && { read -r word; read -r terminal; } <who && stty -F "$terminal" rows "$b" cols "$a"
        ;;
      eof) echo "eof $a" >&7 ;;
      beat) echo beat >&6 ;;
      # What is left of the folder, for so long, refuses a call to start this again that comes late.
      refuse) echo "$a" >.refuse ;;
      leave | done)
        # Whoever is told to end while it does this leaves a command behind.
        trap '' TERM
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
  # Not `:`, which ends the shell where the folder is gone: whoever waits for the next word would wait for ever.
  true >lost
  echo lost >&6
}

# Removes the pieces of stderr that have come.
forget() {
  set -- "$1" ''
  for at in err.at.*; do
    read -r start size <"$at" && [ $((start + size)) -le "$1" ] && set -- "$1" "$2 $at err.${at##*.}"
  done
  [ -z "$2" ] || rm -f $2
}

deliver_err() {
  delivered=$((delivered + 1))
  answer "err $2 $3"
  cat "err.$1" >&5
  next_err=$(($2 + $3))
}

# Sets from_here, where stderr goes on after what has come, and adds to waiting what is there of it.
look_at_err() {
  # Files are not written at once: an empty one is read again.
  until read -r end <err.end; do [ -e kept ] || return; done
  from_here=
  for at in err.at.*; do
    # One that is not whole yet will be told of.
    read -r start size <"$at" || continue
    if [ $((start + size)) -le "$1" ]; then rm -f "$at" "err.${at##*.}"; continue; fi
    from_here=${from_here:-$start}
    waiting="$waiting ${at##*.} $start $size"
  done
  [ -n "$from_here" ] || from_here=$end
}

# Sets listener, since, number and starts: whom the command's stdout goes to, from where on, and where the files begin that
# are kept of it, the first of them with this number.
read_map() {
  listener= since= number= starts=
  # At the very beginning there is none, and nothing has been written.
  while [ -e map ] && ! read -r listener since number starts <map; do [ -e kept ] || return; done
}

# Ends what take has started, also when it has just been started.
end_own() {
  if [ "$taker" = next ]; then
    taker=$!
    [ "$taker" != "$before" ] || taker=
  fi
  [ -z "$taker" ] || {
    kill -KILL "$taker"
    wait "$taker"
  }
  exit
}

# A process that takes from 9, until it ends, or who comes next ends it.
take() {
  # Of the shell that has started this one, at first: it is hear, which has yet to hang up.
  before=$!
  taker=next
  "$@" <&9 >&4 &
  taker=$!
  name_in "taker.$turn" $taker
  find_newest
  [ "$newest" = "$turn" ] || {
    kill -KILL $taker
    wait $taker
    tell grown
    exit
  }
  wait $taker
  taker=
}

# Ends what takes for a streamer, whether that one still lives or not.
end_taker() {
  lives "taker.$1" && kill -KILL "$pid"
  while lives "taker.$1"; do sleep 0.01 || sleep 1; done
  rm -f "taker.$1"
}

# All of stdout from here on.
carry() {
  taker=
  trap end_own TERM
  [ -p "live.$turn" ] && exec 9<>"live.$turn" && take cat
  echo lost >&6
}

# Tells that something has come out of an older live.TURN.
ring() {
  taker=
  trap end_own TERM
  [ -p "live.$1" ] && exec 9<>"live.$1" 4>/dev/null || return
  while [ -p "live.$1" ] && [ -e "turn.$turn" ]; do
    take dd bs=65536 count=1
    echo grown >&6
  done
}

# Sends what there is of stdout and has not been sent.
catch_up() {
  [ -z "$live" ] || return
  read_map
  set -- $starts
  [ "$sent" -ge "${1:-0}" ] || {
    echo lost >&6
    return
  }
  while [ $# -gt 0 ]; do
    chunk=out.$((number % (2 * CHUNKS)))
    if [ "$listener" = "$turn" ] && [ "$1" -ge "$since" ]; then
      # From here on all of it goes through live.TURN.
      live=1
      [ -z "$taking" ] || {
        kill $taking
        wait $taking
      }
      carry &
      taking=$!
      return
    elif [ $# -gt 1 ]; then
      end=$2
    else
      end=$(($1 + $(wc -c <$chunk || echo 0)))
      # Whose it is was told before anything was written to it, and maybe after the map was read.
      known=$listener
      read_map
      [ "$listener" = "$known" ] || {
        catch_up
        return
      }
    fi
    [ -e "turn.$turn" ] || return
    if [ "$sent" -lt "$end" ]; then
      if [ "$sent" -gt "$1" ]; then tail -c +$((sent - $1 + 1)) $chunk; else cat $chunk; fi | head -c $((end - sent)) >&4
      sent=$end
    fi
    number=$((number + 1))
    shift
  done
  [ -n "$taking" ] || [ -z "$listener" ] || {
    ring "$listener" &
    taking=$!
  }
}

come() {
  mkfifo "note.$turn" "live.$turn"
  # What nobody has open keeps nothing.
  exec <>"live.$turn"
  : >"turn.$turn"
}

stream() {
  exec 6<>"note.$turn" 7<>feed 8<>oa 9<>ea
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
    end_taker "$before"
    read_map
    [ "$listener" = "$before" ] || rm -f "live.$before"
  done
  echo "$linger" >linger
  echo "$turn" >beat
  rm -f lost
  waiting= ended= delivered=0 live= taking=
  read -r code ends <exit && ended="exit $code $ends"
  until read -r taken <taken; do [ -e kept ] || return; done
  read_map
  sent=${starts%% *}
  sent=${sent:-0}
  [ "$out_from" -le "$sent" ] || sent=$out_from
  look_at_err "$err_from"
  next_err=$from_here
  say "hold sh $taken $sent $next_err"
  # Who joins acknowledges by that: the word for it may have been lost in the cut.
  echo "$turn $out_from" >&8
  echo "$err_from" >&9
  hear &
  hearing=$!
  set -- $waiting
  while [ $# -gt 0 ]; do
    deliver_err "$1" "$2" "$3"
    shift 3
  done
  catch_up
  [ -n "$ended" ] && answer "$ended"
  while read -r word a b c <&6; do
    case $word in
      map | grown) catch_up ;;
      err) [ "$b" -ge "$next_err" ] && deliver_err "$a" "$b" "$c" ;;
      got)
        # It costs a process: not for every piece.
        [ $delivered -lt 8 ] || { forget "$a"; delivered=0; }
        ;;
      in) answer "in $a" ;;
      exit)
        catch_up
        answer "exit $a $b $c"
        ;;
      beat)
        lives pid || break
        answer beat
        ;;
      bye | taken)
        answer "$word"
        break
        ;;
      lost) break ;;
    esac
  done
  [ "$word" = bye ] || kill $hearing
  [ -z "$taking" ] || kill $taking
  wait $hearing $taking
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
  lives pid || { say gone; exit 0; }
  if [ "$verb" = look ]; then
    read -r left <ends || read -r left <linger
    say "look $left"
  else
    come
    stream
  fi
  exit 0
}

for place in "$TMPDIR" /dev/shm /tmp /var/tmp /run "$HOME"; do
  folder=$place/.connect-gateway-proxy-$name
  join_there
done
[ "$verb" = start ] || { say gone; exit 0; }

for tool in mkfifo mkdir cat rm rmdir env tr dd sleep wc tee head tail; do has $tool || plain no-$tool; done
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
  cd "$folder" && mkfifo in out err feed oa ea go.0 go.1 fin && break
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
come
(exec </dev/null >/dev/null 3<&- 4>&- 5>&-; hold "$@") | stream
exit 0
