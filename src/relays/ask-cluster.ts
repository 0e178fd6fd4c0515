import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import type { AccessToken } from '../credentials/token-source.js';
import type { Verdict } from '../gateway/failure.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { credentialHeaders } from './credential-headers.js';
import { errorOfVerdict, judgeFailure } from './failure-body.js';
import type { RelayTools, ServedMembership } from './served-membership.js';

/** An answer that does not come is no answer. */
const HEAD_DEADLINE_MS = 30_000;
/** Enough for any pod; the answer is only looked at for its container statuses. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

export interface ClusterQuestion {
  readonly tools: Pick<RelayTools, 'http'>;
  readonly served: ServedMembership;
  /** Of the client's request, without a credential. */
  readonly headers: FlatHeaders;
  readonly clientGone: AbortSignal;
}

export type ClusterAnswer =
  /** `date` is the answer's time in ms, by the cluster's clock or the gateway's. */
  | { readonly kind: 'found'; readonly value: unknown; readonly date?: number }
  | { readonly kind: 'gone' }
  /** The cluster itself will not tell this client. */
  | { readonly kind: 'forbidden'; readonly message: string };

/**
 * Asks the API with GET for one object, as the client that it is asked for. Rejects on anything but an answer of the
 * cluster's own, with the verdict's CodedError where Google has answered instead.
 */
export async function askCluster(question: ClusterQuestion, target: string): Promise<ClusterAnswer> {
  const { served, clientGone } = question;
  const token = await served.tokens.get(clientGone);
  const answer = await get(question, { target, token });
  if (answer.status === 401) served.tokens.invalidate(token);
  const verdict = answer.status < 400 ? undefined : judgeAnswer(served, target, answer);
  if (verdict?.kind === 'answer') throw errorOfVerdict(verdict);
  const parsed = JSON.parse(answer.text) as { kind?: string; reason?: string; message?: string } | null;
  if (answer.status === 200) {
    const date = Date.parse(answer.date);
    return { kind: 'found', value: parsed, ...(Number.isNaN(date) ? {} : { date }) };
  }
  // Only the cluster itself can say that a pod is gone; an agent that is lost is a 404 of Google's.
  if (parsed?.kind === 'Status') {
    if (answer.status === 404 && parsed.reason === 'NotFound') return { kind: 'gone' };
    if (answer.status === 403) return { kind: 'forbidden', message: String(parsed.message) };
  }
  throw new Error(`HTTP ${answer.status} to ${target}`);
}

interface HttpAnswer {
  readonly status: number;
  readonly headers: FlatHeaders;
  readonly text: string;
  readonly date: string;
}

function judgeAnswer({ membership, tokens }: ServedMembership, target: string, answer: HttpAnswer): Verdict {
  return judgeFailure({
    status: answer.status,
    headers: answer.headers,
    body: Buffer.from(answer.text),
    request: parseApiRequest(target),
    membership: membership.alias,
    about: membership,
    tokens,
  });
}

function get(
  { served, tools, headers, clientGone }: ClusterQuestion,
  o: { target: string; token: AccessToken },
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    let received: FlatHeaders = [];
    let bytes = 0;
    const leave = (): void => {
      reject(clientGone.reason);
      call.abort();
    };
    const settled = (): void => clientGone.removeEventListener('abort', leave);
    const call = tools.http.send(
      {
        address: served.address,
        method: 'GET',
        target: served.address.pathPrefix + o.target,
        headers: [
          ...identityHeaders(headers),
          ...['Accept', 'application/json'],
          ...credentialHeaders(served, o.token, headers),
        ],
        body: null,
        headersTimeoutMs: HEAD_DEADLINE_MS,
        // A session that somebody uses waits for it.
        turn: { project: served.membership, urgent: true, client: clientGone },
      },
      {
        information: () => {},
        head: (code, _text, answered) => {
          status = code;
          received = answered;
        },
        data: (chunk) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) {
            reject(new Error(`the answer to ${o.target} is too large`));
            call.abort();
          } else {
            chunks.push(chunk);
          }
          return true;
        },
        end: () => {
          settled();
          const date = headerValue(received, 'date') ?? '';
          resolve({ status, headers: received, date, text: Buffer.concat(chunks).toString('utf8') });
        },
        failed: (error) => {
          settled();
          reject(error);
        },
      },
    );
    clientGone.addEventListener('abort', leave, { once: true });
  });
}

/** Whoever the client says it is, it must be for this question as well. */
function identityHeaders(headers: FlatHeaders): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = String(headers[i]);
    if (/^(impersonate-|user-agent$)/i.test(name)) kept.push(name, String(headers[i + 1]));
  }
  return kept;
}
