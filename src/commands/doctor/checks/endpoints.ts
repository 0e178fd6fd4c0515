import type { EndpointProbe } from '../../../daemon/google-side.js';
import { type Check, combined, type Finding, fail, ok } from '../check.js';

/** Does each endpoint of Google have a name that resolves, a port that answers, and a certificate that is trusted? */
export const endpoints: Check = {
  id: 'endpoints',
  title: 'DNS and TLS',
  needs: ['clock', 'proxy'],
  async run(context) {
    const probes = await context.probes();
    const failed = combined(alike(probes.filter(({ failure }) => failure !== undefined)));
    return failed ?? ok(probes.map(({ host }) => host).join(', '));
  },
};

/** Those that fail in the same way in one finding. */
function alike(probes: readonly EndpointProbe[]): Finding[] {
  const byCause = new Map<string, EndpointProbe[]>();
  for (const probe of probes) {
    const { stage, code } = probe.failure ?? {};
    byCause.set(`${stage} ${code}`, [...(byCause.get(`${stage} ${code}`) ?? []), probe]);
  }
  return [...byCause.values()].flatMap(([first, ...others]) =>
    first === undefined ? [] : [told(first, [first, ...others].map(({ host }) => host).join(', '))],
  );
}

function told({ host, failure, issuer }: EndpointProbe, hosts: string): Finding {
  const { stage, code = 'unknown', message = '' } = failure ?? {};
  const name = host.replace(/:\d+$/, '');
  switch (stage) {
    case 'name':
      return fail(`the name of ${hosts} does not resolve (${code})`, `nslookup ${name}`, { code });
    case 'connect':
      return fail(
        `${hosts} cannot be reached (${code}): no network, or a firewall on the way`,
        `curl -v https://${host}/`,
        { code },
      );
    case 'certificate': {
      const signed = issuer === undefined ? '' : `, signed by ${issuer}`;
      const [cause, next] = /EXPIRED|NOT_YET_VALID/.test(code)
        ? ['is not valid now', `curl -v https://${host}/`]
        : /ALTNAME/.test(code)
          ? ['is for another name', `curl -v https://${host}/`]
          : [
              'is not trusted; where a TLS-inspecting proxy is in the way, its CA can be named',
              'connect-gateway-proxy run --endpoints-ca-file FILE',
            ];
      return fail(`the certificate of ${hosts} ${cause} (${code}${signed})`, next, { code });
    }
    default:
      return fail(
        `${hosts} ends the connection at ${stage === 'tls' ? 'the TLS handshake' : 'the first question'}: ${message} (${code})`,
        `curl -v https://${host}/`,
        { code },
      );
  }
}
