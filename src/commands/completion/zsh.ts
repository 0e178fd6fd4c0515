import { allVerbs, type Verb, type VerbOption } from './verbs.js';

/** For `source <(...)` after compinit, or as a file `_connect-gateway-proxy` in $fpath. */
export function zshCompletion(root: Verb): string {
  const verbs = allVerbs(root);
  const known = verbs.filter(({ path }) => path.length > 0).map((verb) => quoted(key(verb)));
  return `#compdef connect-gateway-proxy
# zsh completion for connect-gateway-proxy: source <(connect-gateway-proxy completion zsh)

_connect_gateway_proxy() {
  local verb='' word prev=$words[CURRENT-1]
  local -i i positional=0
  local -a daemon options commands
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ $word == -- ]]; then
      _command_names || _files
      return
    fi
    case $word in
      (--state-dir|--config) daemon+=($word $words[i+1]) ;;
    esac
    case "$verb $word" in
${indented(6, takingValue(verbs))}
    esac
    [[ $word == -* ]] && continue
    case "$verb $word" in
      (${known.join('|')}) verb="$verb $word" ;;
      (*) ((positional++)) ;;
    esac
  done
  case "$verb $prev" in
${indented(4, values(verbs))}
  esac
  case $verb in
${verbs.map((verb) => indented(4, branch(verb))).join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe -o option options
  elif ((positional == 0)) && (($#commands)); then
    _describe command commands
  fi
}

if [[ $funcstack[1] == _connect-gateway-proxy ]]; then
  _connect_gateway_proxy "$@"
else
  compdef _connect_gateway_proxy connect-gateway-proxy
fi
`;
}

function key({ path }: Verb): string {
  return path.map((word) => ` ${word}`).join('');
}

function branch(verb: Verb): string[] {
  const { options, children, argument } = verb;
  const lines = [`(${quoted(key(verb))})`, `  options=(${options.flatMap(optionItems).join(' ')})`];
  if (argument === 'membership') {
    lines.push(`  commands=(\${(f)"$(connect-gateway-proxy completion --list $daemon 2>/dev/null)"})`);
  } else {
    const items = [
      ...children.map((child) => item(child.path.at(-1) ?? '', child.description)),
      ...argument.map(quoted),
    ];
    lines.push(`  commands=(${items.join(' ')})`);
  }
  return [...lines, '  ;;'];
}

function optionItems({ names, description }: VerbOption): string[] {
  return names.map((name) => item(name, description));
}

/** `name:description`, in which the name's own colons are escaped. */
function item(name: string, description: string): string {
  return quoted(`${name.replaceAll(':', '\\:')}:${description}`);
}

function takingValue(verbs: readonly Verb[]): string[] {
  return verbs.flatMap((verb) => {
    const names = verb.options.filter(({ value }) => value?.required === true).flatMap(({ names }) => names);
    return names.length === 0 ? [] : [`(${patterns(verb, names)}) ((i++)); continue ;;`];
  });
}

function values(verbs: readonly Verb[]): string[] {
  return verbs.flatMap((verb) =>
    verb.options.flatMap(({ names, value }) => {
      if (value === undefined) return [];
      const at = patterns(verb, names);
      const unless = value.required ? '' : '[[ $PREFIX == -* ]] || ';
      if (value.kind === 'file') return [`(${at}) ${unless}{ _files; return } ;;`];
      if (value.kind === 'other') return value.required ? [`(${at}) return ;;`] : [];
      return [`(${at}) compadd -- ${value.kind.map(quoted).join(' ')}; return ;;`];
    }),
  );
}

function patterns(verb: Verb, names: readonly string[]): string {
  return names.map((name) => quoted(`${key(verb)} ${name}`)).join('|');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function indented(by: number, lines: readonly string[]): string {
  return lines.map((line) => ' '.repeat(by) + line).join('\n');
}
