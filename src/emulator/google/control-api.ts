import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../base/clock.js';
import { UsageError } from '../../base/errors.js';
import { headerValue } from '../../base/flat-headers.js';
import type { Caller } from '../cluster-backend.js';
import { type Answer, googleError, headersOf, jsonAnswer, notFoundPage } from './answers.js';
import { pause } from './data-path.js';
import type { EmulatedFleet, EmulatedProject } from './emulated-fleet.js';
import { type AnyErrorName, errorAnswer } from './error-catalogue.js';
import type { Faults } from './faults.js';
import { readObject } from './http-body.js';
import { generatedCredentials, membershipResource } from './hub-resources.js';
import type { CuttableResponse } from './metered-response.js';
import { answerOAuth } from './oauth.js';
import type { RequestLog } from './request-log.js';
import { TOKEN_SECONDS, type Tokens } from './tokens.js';

export interface ControlApiParts {
  readonly fleet: EmulatedFleet;
  readonly tokens: Tokens;
  readonly faults: Faults;
  readonly requests: RequestLog;
  readonly clock: Clock;
  readonly caCertificate: string;
  /** Known once the server listens. */
  origin(): string;
}

/** One call on its way through the table of methods. */
interface Call {
  readonly request: IncomingMessage;
  readonly target: string;
  /** The groups of the route's pattern. */
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
  readonly caller: Caller;
  readonly unreachable: readonly string[];
  readonly deniedPermissions: readonly string[];
  /** Where it had to be read before the route was known. */
  readonly body: Readonly<Record<string, unknown>> | undefined;
}

interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: RegExp;
  /** What the caller must have, and what is said to one who has it not. */
  readonly needs?: readonly [string, AnyErrorName];
  answer(call: Call): Answer | Promise<Answer>;
}

const HUB = '^/(v1|v1beta|v1beta1|v1alpha|v1alpha1)/projects/([^/]+)/locations/([^/]+)/memberships';

/** Google's control APIs: everything that is not the data path, on one origin. */
export class ControlApi {
  readonly #parts: ControlApiParts;
  readonly #routes: readonly Route[];

  constructor(parts: ControlApiParts) {
    this.#parts = parts;
    this.#routes = [
      {
        method: 'GET',
        path: new RegExp(`${HUB}$`),
        needs: ['gkehub.memberships.list', 'list-permission-denied'],
        answer: (call) => this.#listMemberships(call),
      },
      { method: 'GET', path: new RegExp(`${HUB}/([^/:]+)$`), answer: (call) => this.#getMembership(call) },
      {
        method: 'GET',
        path: new RegExp(`${HUB}/([^/:]+):generateCredentials$`),
        needs: ['gkehub.gateway.generateCredentials', 'generate-credentials-denied'],
        answer: (call) => this.#generateCredentials(call),
      },
      { method: 'GET', path: /^\/(v1|v3)\/projects\/([^/:]+)$/, answer: (call) => this.#getProject(call) },
      {
        method: 'POST',
        path: /^\/(v1|v3)\/projects\/([^/:]+):testIamPermissions$/,
        answer: (call) => this.#testPermissions(call),
      },
      {
        method: 'POST',
        path: /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):generateAccessToken$/,
        needs: ['iam.serviceAccounts.getAccessToken', 'service-account-token-denied'],
        answer: (call) => this.#generateAccessToken(call),
      },
      {
        method: 'GET',
        path: /^\/(?:v1|v1beta1)\/projects\/([^/]+)\/services\/([^/:]+)$/,
        answer: (call) => this.#getService(call),
      },
      {
        method: 'GET',
        path: /^\/(?:oauth2\/v[123]|v1)\/userinfo$/,
        answer: ({ caller }) => jsonAnswer({ sub: '1', email: caller.user, email_verified: true }),
      },
    ];
  }

  async handle(request: IncomingMessage, response: ServerResponse & CuttableResponse): Promise<void> {
    const { requests, clock } = this.#parts;
    const { method = 'GET', url: target = '/', rawHeaders } = request;
    const record = requests.add({
      method,
      target,
      rawHeaders: [...rawHeaders],
      kind: 'control',
      at: clock.now(),
      ...this.#membershipOf(target),
    });
    response.onStatus((status) => {
      record.status = status;
    });
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const answer = await this.#answer(request, target, gone.signal).catch((error: unknown) => {
      if (error instanceof UsageError) return googleError(400, 'INVALID_ARGUMENT', error.message);
      if (gone.signal.aborted) return undefined;
      throw error;
    });
    if (answer === undefined) return;
    request.resume();
    // By its own clock, which a test may have set wrong.
    response.setHeader('Date', new Date(clock.now()).toUTCString());
    response.writeHead(answer.status, headersOf(answer)).end(answer.body);
  }

  async #answer(request: IncomingMessage, target: string, signal: AbortSignal): Promise<Answer> {
    const { tokens, faults, clock } = this.#parts;
    const mark = target.indexOf('?');
    const path = mark === -1 ? target : target.slice(0, mark);
    const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
    const oauth = await answerOAuth(request, path, { tokens, faults, clock, signal });
    if (oauth !== undefined) return oauth;
    const body = path.endsWith(':generateAccessToken') ? await readObject(request) : undefined;
    const plan = faults.plan({
      kind: 'control',
      streams: false,
      ...this.#membershipOf(target),
      ...(body === undefined ? {} : { serviceAccounts: serviceAccountsOf(path, body) }),
    });
    await pause(clock, plan, signal);
    const route = this.#routes.find(({ method, path: known }) => method === request.method && known.test(path));
    if (route === undefined) return notFoundPage(target);
    const caller = tokens.callerOf(headerValue(request.rawHeaders, 'authorization'));
    const parts = (route.path.exec(path) ?? []).slice(1).map(decodeSegment);
    if (caller === undefined || plan.tokenExpired) return this.#error('unauthenticated', { parts, target });
    const { unreachable, deniedPermissions } = plan;
    const call: Call = { request, target, parts, query, caller, unreachable, deniedPermissions, body };
    const [permission, refusal] = route.needs ?? [];
    if (refusal !== undefined && deniedPermissions.includes(permission ?? '')) return this.#error(refusal, call);
    if (plan.answer !== undefined) return this.#error(plan.answer, call);
    return await route.answer(call);
  }

  #listMemberships(call: Call): Answer {
    const { parts, query, unreachable } = call;
    const [, , location = '-'] = parts;
    const project = this.#project(call, 1);
    if (project === undefined) return this.#error('list-permission-denied', call);
    const all = this.#parts.fleet.list(project, location).filter((m) => !unreachable.includes(m.location));
    const size = Number(query.get('pageSize') ?? '0');
    const start = Number(Buffer.from(query.get('pageToken') ?? '', 'base64url').toString('utf8'));
    if (!Number.isInteger(size) || size < 0 || !Number.isInteger(start) || start < 0) {
      return this.#error('invalid-argument', call);
    }
    const end = size === 0 ? all.length : Math.min(all.length, start + size);
    return jsonAnswer({
      resources: all.slice(start, end).map(membershipResource),
      ...(end < all.length ? { nextPageToken: Buffer.from(String(end)).toString('base64url') } : {}),
      ...(unreachable.length === 0 ? {} : { unreachable }),
    });
  }

  #getMembership(call: Call): Answer {
    const [, project = '', location = '', id = ''] = call.parts;
    const membership = this.#parts.fleet.find(project, location, id);
    if (membership === undefined) return this.#error('membership-not-found', call);
    return jsonAnswer(membershipResource(membership));
  }

  #generateCredentials(call: Call): Answer {
    const [version = 'v1', project = '', location = '', id = ''] = call.parts;
    const membership = this.#parts.fleet.find(project, location, id);
    if (membership === undefined) return this.#error('membership-not-found', call);
    // Where the caller chose a host by name, its region has to be the membership's, as with Google.
    const host = /^(?:(.+)-)?connectgateway\./.exec(headerValue(call.request.rawHeaders, 'host') ?? '');
    if (host !== null && (host[1] ?? 'global') !== location) return this.#error('invalid-argument', call);
    const { origin, caCertificate } = this.#parts;
    return jsonAnswer(
      generatedCredentials({ membership, version, origin: origin(), caCertificate, query: call.query }),
    );
  }

  #getProject(call: Call): Answer {
    const project = this.#project(call, 1);
    if (project === undefined) return projectDenied(call.parts[1] ?? '');
    const { number, id } = project;
    if (call.parts[0] === 'v3') {
      return jsonAnswer({ name: `projects/${number}`, projectId: id, state: 'ACTIVE', displayName: id });
    }
    return jsonAnswer({ projectNumber: number, projectId: id, lifecycleState: 'ACTIVE', name: id });
  }

  async #testPermissions(call: Call): Promise<Answer> {
    const { permissions } = await readObject(call.request);
    if (!Array.isArray(permissions)) return this.#error('invalid-argument', call);
    if (this.#project(call, 1) === undefined) return projectDenied(call.parts[1] ?? '');
    return jsonAnswer({ permissions: permissions.filter((name) => !call.deniedPermissions.includes(name as string)) });
  }

  async #generateAccessToken(call: Call): Promise<Answer> {
    const [email = ''] = call.parts;
    const { scope, lifetime = '3600s' } = call.body ?? {};
    const seconds = Number(/^(\d{1,6})(?:\.\d+)?s$/.exec(String(lifetime))?.[1] ?? Number.NaN);
    if (!Array.isArray(scope) || scope.length === 0) {
      return googleError(400, 'INVALID_ARGUMENT', 'The request must include at least one scope.');
    }
    if (!(seconds > 0 && seconds <= TOKEN_SECONDS)) {
      return googleError(400, 'INVALID_ARGUMENT', 'The access token lifetime cannot exceed 3600 seconds.');
    }
    const issued = this.#parts.tokens.issue({ user: email, expiresInSeconds: seconds });
    // gcloud cannot read fractions of a second.
    const expireTime = new Date(issued.expiresAt).toISOString().replace(/\.\d+Z$/, 'Z');
    return jsonAnswer({ accessToken: issued.accessToken, expireTime });
  }

  #getService(call: Call): Answer {
    const [, service = ''] = call.parts;
    const project = this.#project(call, 0);
    if (project === undefined) return projectDenied(call.parts[0] ?? '');
    const parent = `projects/${project.number}`;
    return jsonAnswer({ name: `${parent}/services/${service}`, parent, config: { name: service }, state: 'ENABLED' });
  }

  #project(call: Call, part: number): EmulatedProject | undefined {
    return this.#parts.fleet.project(call.parts[part] ?? '');
  }

  #membershipOf(target: string): { membership?: string } {
    const id = /^\/v1[a-z0-9]*\/projects\/[^/?]+\/locations\/[^/?]+\/memberships\/([^/?:]+)/.exec(target)?.[1];
    return id === undefined ? {} : { membership: id };
  }

  #error(name: AnyErrorName, call: { parts: readonly string[]; target: string; caller?: Caller }): Answer {
    const [, projectName = '-', location = '-', membership = '-'] = call.parts;
    const project = this.#parts.fleet.project(projectName);
    return errorAnswer(name, {
      projectNumber: project?.number ?? projectName,
      projectId: project?.id ?? projectName,
      location,
      membership,
      user: call.caller?.user ?? 'unknown',
      target: call.target,
    });
  }
}

/** Google does not tell an unknown project from a forbidden one. */
function projectDenied(project: string): Answer {
  return googleError(
    403,
    'PERMISSION_DENIED',
    `The caller does not have permission on project '${project}', or it does not exist.`,
  );
}

/** Everybody on the way of an impersonation: delegates are written as resources. */
function serviceAccountsOf(path: string, body: Readonly<Record<string, unknown>>): string[] {
  const target = /serviceAccounts\/([^/:]+):/.exec(path)?.[1] ?? '';
  const delegates = Array.isArray(body['delegates']) ? body['delegates'] : [];
  return [...delegates.map((name) => String(name).split('/').at(-1) ?? ''), decodeSegment(target)];
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
