import { allVerbs, type Verb } from './verbs.js';

/** Works in bash 3.2, and without the package bash-completion. */
export function bashCompletion(root: Verb): string {
  const verbs = allVerbs(root);
  const known = verbs.filter(({ path }) => path.length > 0).map(({ path }) => `' ${path.join(' ')}'`);
  return `# bash completion for connect-gateway-proxy: source <(connect-gateway-proxy completion bash)

_connect_gateway_proxy() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local verb='' word words='' i positional=0 daemon=()
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == -- ]]; then
      COMPREPLY=($(compgen -c -- "$cur") $(compgen -f -- "$cur"))
      return
    fi
    case "$word" in
      --state-dir | --config) daemon+=("$word" "\${COMP_WORDS[i+1]}") ;;
    esac
    case "$verb $word" in
${indented(6, takingValue(verbs))}
    esac
    [[ $word == -* ]] && continue
    case "$verb $word" in
      ${known.join(' | ')}) verb="$verb $word" ;;
      *) positional=$((positional + 1)) ;;
    esac
  done
  case "$verb $prev" in
${indented(4, values(verbs))}
  esac
  if [[ $cur == -* ]]; then
    case "$verb" in
${indented(
  6,
  verbs.map((verb) => `'${key(verb)}') words='${optionNames(verb)}' ;;`),
)}
    esac
  elif ((positional == 0)); then
    case "$verb" in
${indented(6, verbs.flatMap(firstWords))}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _connect_gateway_proxy connect-gateway-proxy
`;
}

/** As the script builds it: every word with a space before it. */
function key({ path }: Verb): string {
  return path.map((word) => ` ${word}`).join('');
}

function optionNames({ options }: Verb): string {
  return options.flatMap(({ names }) => names).join(' ');
}

/** Options whose value is no argument and no verb. */
function takingValue(verbs: readonly Verb[]): string[] {
  return verbs.flatMap((verb) => {
    const names = verb.options.filter(({ value }) => value?.required === true).flatMap(({ names }) => names);
    return names.length === 0 ? [] : [`${patterns(verb, names)}) ((i++)); continue ;;`];
  });
}

function values(verbs: readonly Verb[]): string[] {
  return verbs.flatMap((verb) =>
    verb.options.flatMap(({ names, value }) => {
      if (value === undefined) return [];
      const at = patterns(verb, names);
      if (value.kind === 'file') {
        // An optional one may also be left out, and another option follow.
        const unless = value.required ? '' : '[[ $cur == -* ]] || ';
        const files = `{ compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return; }`;
        return [`${at}) ${unless}${files} ;;`];
      }
      if (value.kind === 'other') return value.required ? [`${at}) return ;;`] : [];
      return [`${at}) COMPREPLY=($(compgen -W '${value.kind.join(' ')}' -- "$cur")); return ;;`];
    }),
  );
}

function firstWords(verb: Verb): string[] {
  const children = verb.children.map(({ path }) => path.at(-1) ?? '');
  if (verb.argument === 'membership') {
    return [
      `'${key(verb)}') words=$(connect-gateway-proxy completion --list \${daemon[@]+"\${daemon[@]}"} 2>/dev/null) ;;`,
    ];
  }
  const words = [...children, ...verb.argument];
  return words.length === 0 ? [] : [`'${key(verb)}') words='${words.join(' ')}' ;;`];
}

function patterns(verb: Verb, names: readonly string[]): string {
  return names.map((name) => `'${key(verb)} ${name}'`).join(' | ');
}

function indented(by: number, lines: readonly string[]): string {
  return lines.map((line) => ' '.repeat(by) + line).join('\n');
}
