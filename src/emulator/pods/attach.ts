import { CHANNEL } from '../../kubernetes/remote-command.js';
import type { ChannelSocket } from './channel-socket.js';
import type { Attachment, Container } from './container.js';
import type { StreamOptions } from './exec.js';
import { feedProgram } from './exec.js';

/** Joins one WebSocket to the container's main program: its output from now on, its stdin if it has one. */
export function serveAttach(container: Container, channels: ChannelSocket, options: StreamOptions): void {
  const workload = container.workload;
  channels.send(CHANNEL.stdout, new Uint8Array());
  if (workload === undefined) {
    channels.finish({ metadata: {}, status: 'Success' });
    return;
  }
  const attachment: Attachment = {
    onOutput: (stream, data) => !options[stream] || channels.send(CHANNEL[stream], data),
    onEnd() {
      leave();
      channels.finish({ metadata: {}, status: 'Success' });
    },
  };
  const detach = container.attach(attachment) ?? (() => {});
  channels.onDrain(() => container.resumeOutput(attachment));
  const endStdin = (): void => {
    if (container.spec.stdinOnce === true && options.stdin) workload.stdin?.end();
  };
  const unfeed = feedProgram(
    channels,
    { stdin: options.stdin ? workload.stdin : undefined, resize: (size) => workload.resize(size) },
    endStdin,
  );
  const leave = (): void => {
    detach();
    unfeed();
  };
  channels.onGone(() => {
    leave();
    endStdin();
  });
}
