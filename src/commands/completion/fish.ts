import { allVerbs, type Verb } from './verbs.js';

/** For `connect-gateway-proxy completion fish | source`, or as a file in fish's completions folder. */
export function fishCompletion(root: Verb): string {
  const verbs = allVerbs(root);
  const known = verbs.filter(({ path }) => path.length > 0).map((verb) => quoted(verb.path.join(' ')));
  return `# fish completion for connect-gateway-proxy: connect-gateway-proxy completion fish | source

function __connect_gateway_proxy_verb
    set -l verb
    for word in (commandline -opc)[2..-1]
        switch "$word"
            case --
                echo --
                return
            case '-*'
                continue
        end
        set -l longer (string trim "$verb $word")
        if contains -- "$longer" ${known.join(' ')}
            set verb $longer
        end
    end
    echo $verb
end

function __connect_gateway_proxy_at
    set -l verb (__connect_gateway_proxy_verb)
    test "$verb" = "$argv[1]"
end

function __connect_gateway_proxy_memberships
    set -l words (commandline -opc)
    set -l daemon
    for i in (seq (count $words))
        if contains -- $words[$i] --state-dir --config; and set -q words[(math $i + 1)]
            set -a daemon $words[$i] $words[(math $i + 1)]
        end
    end
    connect-gateway-proxy completion --list $daemon 2>/dev/null
end

complete -c connect-gateway-proxy -f
complete -c connect-gateway-proxy -n '__connect_gateway_proxy_at --' -F
${verbs.flatMap(linesOf).join('\n')}
`;
}

function linesOf(verb: Verb): string[] {
  const at = `complete -c connect-gateway-proxy -n ${quoted(`__connect_gateway_proxy_at ${quoted(verb.path.join(' '))}`)}`;
  const words =
    verb.argument === 'membership'
      ? [`${at} -a '(__connect_gateway_proxy_memberships)'`]
      : verb.argument.map((word) => `${at} -a ${quoted(word)}`);
  const children = verb.children.map(
    (child) => `${at} -a ${quoted(child.path.at(-1) ?? '')} -d ${quoted(child.description)}`,
  );
  const options = verb.options.map(({ names, description, value }) => {
    const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
    const kind = value?.kind;
    // -x is -r without files.
    const takes = value?.required !== true ? '' : kind === 'file' ? ' -r' : ' -x';
    const offered = kind === 'file' ? ' -F' : Array.isArray(kind) ? ` -a ${quoted(kind.join(' '))}` : '';
    return `${at} ${flags.join(' ')}${takes}${offered} -d ${quoted(description)}`;
  });
  return [...children, ...words, ...options];
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
