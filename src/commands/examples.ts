import type { Command } from 'commander';

const NAME = 'connect-gateway-proxy';

/** By command. Those that are not here bring their own. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  '': [`${NAME} demo`, `${NAME} run --projects my-fleet-project`, `export KUBECONFIG=$(${NAME} kubeconfig)`],
  run: [
    `${NAME} run --projects my-fleet-project`,
    `${NAME} run --config ./config.yaml --log-level debug`,
    `${NAME} run --projects my-fleet-project --once -- kubectl get nodes`,
  ],
  demo: [`${NAME} demo`, `${NAME} demo --listen-port 0 --state-dir /tmp/demo`],
  emulator: [
    `${NAME} emulator --port 8443`,
    `${NAME} emulator --cluster kind=$HOME/.kube/config:kind-kind`,
    `${NAME} emulator --fault '{"cutAfterMs":60000,"form":"reset"}'`,
  ],
  memberships: [`${NAME} memberships --refresh`, `${NAME} memberships -o json | jq -r '.memberships[].url'`],
  status: [`${NAME} status`, `${NAME} status --whoami prod`, `${NAME} status -o json | jq .ready`],
  stop: [`${NAME} stop`, `${NAME} stop --state-dir /tmp/demo`],
  wait: [`${NAME} wait --timeout 30s && kubectl get pods`],
  completion: [
    `source <(${NAME} completion bash)`,
    `${NAME} completion zsh > "\${fpath[1]}/_${NAME}"`,
    `${NAME} completion fish | source`,
  ],
  service: [`${NAME} service install --projects my-fleet-project`, `${NAME} service logs --follow`],
  'service install': [
    `${NAME} service install --projects my-fleet-project`,
    `${NAME} service install --config ~/fleet.yaml --dry-run`,
  ],
  'service uninstall': [`${NAME} service uninstall`],
  'service start': [`${NAME} service start`],
  'service stop': [`${NAME} service stop`],
  'service restart': [`${NAME} service restart`],
  'service status': [`${NAME} service status || ${NAME} service logs`],
  'service logs': [`${NAME} service logs --lines 50`, `${NAME} service logs --follow`],
};

/** Puts examples under the help of the command and of all below it. */
export function addExamples(command: Command, path: readonly string[] = []): void {
  const examples = EXAMPLES[path.join(' ')];
  if (examples !== undefined) {
    command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}\n`).join('')}`);
  }
  for (const child of command.commands) addExamples(child, [...path, child.name()]);
}
