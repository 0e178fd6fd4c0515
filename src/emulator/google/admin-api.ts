import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { UsageError } from '../../base/errors.js';
import { headerValue } from '../../base/flat-headers.js';
import { type Answer, googleError, headersOf, jsonAnswer, notFoundPage } from './answers.js';
import { ALL_ERROR_NAMES, aboutError } from './error-catalogue.js';
import { CUT_FORMS, FAULT_MATCHES, type Faults, parseCut, parseFault } from './faults.js';
import { readObject } from './http-body.js';

const FAULTS = '/-/emulator/faults';

/** The emulator's own switches, for people and scripts outside its process. */
export class AdminApi {
  readonly #faults: Faults;
  readonly #adminToken: string;
  readonly #activeStreams: () => number;

  constructor(o: { faults: Faults; adminToken: string; activeStreams: () => number }) {
    this.#faults = o.faults;
    this.#adminToken = o.adminToken;
    this.#activeStreams = o.activeStreams;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#answer(request).catch((error: unknown) => {
      if (error instanceof UsageError) return googleError(400, 'INVALID_ARGUMENT', error.message);
      throw error;
    });
    request.resume();
    response.writeHead(answer.status, headersOf(answer)).end(answer.body);
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const path = (request.url ?? '').split('?')[0] ?? '';
    if (!this.#isAllowed(headerValue(request.rawHeaders, 'authorization') ?? '')) {
      return googleError(401, 'UNAUTHENTICATED', "this needs the emulator's admin token as bearer token");
    }
    const what = `${request.method} ${path}`;
    if (what === `GET ${FAULTS}`) {
      const answers = Object.fromEntries(ALL_ERROR_NAMES.map((name) => [name, aboutError(name)]));
      return jsonAnswer({
        faults: this.#faults.list(),
        activeStreams: this.#activeStreams(),
        known: { form: CUT_FORMS, match: FAULT_MATCHES, answer: answers },
      });
    }
    if (what === `POST ${FAULTS}`) {
      return jsonAnswer({ id: this.#faults.add(parseFault(await readObject(request))) }, 201);
    }
    if (what === `DELETE ${FAULTS}`) {
      this.#faults.clear();
      return jsonAnswer({});
    }
    if (request.method === 'DELETE' && path.startsWith(`${FAULTS}/`)) {
      const id = path.slice(FAULTS.length + 1);
      return this.#faults.remove(id) ? jsonAnswer({}) : googleError(404, 'NOT_FOUND', `there is no fault ${id}`);
    }
    if (what === 'POST /-/emulator/cut') {
      const { form, ...filter } = parseCut(await readObject(request));
      return jsonAnswer({ cut: this.#faults.cutNow(form, filter) });
    }
    return notFoundPage(path);
  }

  #isAllowed(authorization: string): boolean {
    const expected = Buffer.from(`Bearer ${this.#adminToken}`);
    const given = Buffer.from(authorization);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}
