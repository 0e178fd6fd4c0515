import { STATUS_CODES } from 'node:http';

/** A whole HTTP answer of the emulated Google side, ready for a response or, after a refused upgrade, a bare socket. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const JSON_TYPE = 'application/json; charset=UTF-8';
const HTML_TYPE = 'text/html; charset=UTF-8';

export function jsonAnswer(body: unknown, status = 200): Answer {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(body, null, 2)}\n` };
}

/** The JSON error form that all of googleapis.com shares. `status` is a canonical code such as `NOT_FOUND`. */
export function googleError(
  code: number,
  status: string,
  message: string,
  details: readonly Readonly<Record<string, unknown>>[] = [],
): Answer {
  const error = { code, message, status, ...(details.length === 0 ? {} : { details }) };
  return jsonAnswer({ error }, code);
}

/** An error page of the Google front end: its template, with the pictures and styles left out. */
export function htmlPage(code: number, reason: string, sentence: string): Answer {
  const body = `<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <meta name=viewport content="initial-scale=1, minimum-scale=1, width=device-width">
  <title>Error ${code} (${reason})!!1</title>
  <style>
    *{margin:0;padding:0}html,code{font:15px/22px arial,sans-serif}html{background:#fff;color:#222;padding:15px}
  </style>
  <a href=//www.google.com/><span id=logo aria-label=Google></span></a>
  <p><b>${code}.</b> <ins>That’s an error.</ins>
  <p>${sentence}  <ins>That’s all we know.</ins>
`;
  return { status: code, contentType: HTML_TYPE, body };
}

/** `target` is quoted in the page, as the front end does, so it is escaped here. */
export function notFoundPage(target: string): Answer {
  const shown = escapeHtml(target.slice(0, 1000));
  return htmlPage(404, 'Not Found', `The requested URL <code>${shown}</code> was not found on this server.`);
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

export function headersOf(answer: Answer): Record<string, string> {
  return {
    'Content-Type': answer.contentType,
    'Content-Length': String(Buffer.byteLength(answer.body)),
    // Honest about being an emulator; Google says ESF here.
    Server: 'connect-gateway-emulator',
    ...answer.headers,
  };
}

/** The answer as bytes for a socket that asked for an upgrade and does not get one. */
export function answerBytes(answer: Answer): string {
  const lines = Object.entries({ ...headersOf(answer), Connection: 'close' }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  const reason = STATUS_CODES[answer.status] ?? 'Error';
  return `HTTP/1.1 ${answer.status} ${reason}\r\n${lines.join('\r\n')}\r\n\r\n${answer.body}`;
}
