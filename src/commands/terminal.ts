import { isatty } from 'node:tty';
import type { CommandTerminal } from './io.js';

/** This process's own terminal, or whatever its standard input and output are. Opened by `start`, not before. */
export function ownTerminal(): CommandTerminal {
  const input = process.stdin;
  let onWinch = (): void => {};
  return {
    start({ raw, onData, onEnd, onResize }) {
      if (raw && isatty(0)) input.setRawMode(true);
      input.on('data', onData);
      input.on('end', onEnd);
      input.on('error', onEnd);
      onWinch = () => {
        const { columns, rows } = process.stdout;
        if (columns > 0 && rows > 0) onResize({ columns, rows });
      };
      process.stdout.on('resize', onWinch);
      onWinch();
    },
    pause: () => void input.pause(),
    resume: () => void input.resume(),
    stop() {
      if (isatty(0)) input.setRawMode(false);
      process.stdout.off('resize', onWinch);
      input.removeAllListeners('data');
      input.removeAllListeners('end');
      // Node keeps a process alive while its input flows.
      input.pause();
      input.unref?.();
    },
  };
}
