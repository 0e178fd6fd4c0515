import type { ServerResponse } from 'node:http';

/** Ways in which a gateway ends a chunked body. `tail` is a part of something that is never completed. */
export const CUT_FORMS = {
  'a TCP reset': (response: ServerResponse) => {
    response.socket?.resetAndDestroy();
  },
  'a FIN without the last chunk': (response: ServerResponse) => {
    response.socket?.end();
  },
  'a clean end of the body': (response: ServerResponse) => {
    response.end();
  },
} as const;

export type CutForm = keyof typeof CUT_FORMS;

/** Ends the body after `tail` has left, so that the tail is on its way before the cut. */
export function cut(form: CutForm, response: ServerResponse, tail: Buffer): void {
  if (tail.length === 0) CUT_FORMS[form](response);
  else response.write(tail, () => CUT_FORMS[form](response));
}
