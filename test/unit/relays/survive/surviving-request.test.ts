import t from 'tap';
import { bootstrapScript } from '../../../../src/relays/survive/holder-frames.js';
import { holdingTarget, joiningTarget } from '../../../../src/relays/survive/surviving-request.js';

const EXEC = '/api/v1/namespaces/default/pods/box/exec';

t.test('the command stands behind our shell as the client has spelled it, be it no UTF-8', (t) => {
  const words = [
    'command=%80%ff',
    'command=a+b%20c',
    'command=%C3%BC',
    'command=%c3%28',
    'command=',
    'command=a%26b%3D',
  ];
  const target = holdingTarget(`${EXEC}?${words.join('&')}&container=c&stdin=true&tty=true&stdout=true`) ?? '';
  const shell = ['sh', '-c', bootstrapScript(), 'connect-gateway-proxy'];
  const ours = shell.map((word) => `command=${encodeURIComponent(word)}`);
  t.equal(
    target,
    `${EXEC}?${['container=c', ...ours, ...words, 'stdin=true', 'stdout=true', 'stderr=true'].join('&')}`,
  );
  t.end();
});

t.test('who joins has no command and no terminal', (t) => {
  const target = joiningTarget(`${EXEC}?command=run-it&tty=true&container=c`);
  t.notMatch(target, /run-it|&tty/);
  t.match(target, /\?container=c&command=sh&command=-c&.*&stdin=true&stdout=true&stderr=true$/);
  t.end();
});

t.test('a command that is too long for the line of a request is not held', (t) => {
  t.equal(holdingTarget(`${EXEC}?command=${'x'.repeat(7000)}&stdout=true`), undefined);
  t.end();
});
