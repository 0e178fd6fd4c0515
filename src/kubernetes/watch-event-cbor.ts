import { CborReader } from './cbor-item.js';

export interface CborEventFacts {
  /** Empty where it is no event. */
  readonly type: string;
  readonly resourceVersion?: string;
  readonly endsInitialEvents: boolean;
}

/** Reads one meta.v1.WatchEvent in CBOR. Throws a RangeError or SyntaxError on what is none. */
export function readCborEvent(event: Buffer, endAnnotation: string): CborEventFacts {
  const reader = new CborReader(event);
  let type = '';
  let hasObject = false;
  let resourceVersion: string | undefined;
  let endsInitialEvents = false;
  const readMetadata = (): void => {
    reader.eachKey((key) => {
      if (key === 'resourceVersion') resourceVersion ??= reader.string();
      else if (key === 'annotations') {
        reader.eachKey((annotation) => {
          if (reader.string() === 'true' && annotation === endAnnotation) endsInitialEvents = true;
        });
      } else reader.skip();
    });
  };
  reader.eachKey((key) => {
    if (key === 'type') type = reader.string() ?? '';
    else if (key !== 'object') reader.skip();
    else {
      hasObject = true;
      reader.eachKey((inner) => {
        if (inner === 'metadata') readMetadata();
        else reader.skip();
      });
    }
  });
  return {
    type: hasObject ? type : '',
    ...(resourceVersion === undefined || resourceVersion === '' || type === 'ERROR' ? {} : { resourceVersion }),
    endsInitialEvents: type === 'BOOKMARK' && endsInitialEvents,
  };
}
