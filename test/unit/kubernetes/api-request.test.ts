import t from 'tap';
import { parseApiRequest } from '../../../src/kubernetes/api-request.js';

t.test('a request’s kind is read from its target', async (t) => {
  const cases: [string, Partial<ReturnType<typeof parseApiRequest>>][] = [
    ['/api', { kind: 'discovery' }],
    ['/apis?timeout=32s', { kind: 'discovery' }],
    ['/api/v1', { kind: 'discovery', version: 'v1' }],
    ['/apis/apps/v1', { kind: 'discovery', group: 'apps', version: 'v1' }],
    ['/openapi/v3/apis/apps/v1?hash=x', { kind: 'discovery' }],
    ['/version', { kind: 'other' }],
    ['/api/v1/pods?limit=500', { kind: 'resource', resource: 'pods' }],
    ['/api/v1/namespaces/default/pods/box', { kind: 'resource', namespace: 'default', resource: 'pods', name: 'box' }],
    ['/api/v1/namespaces/default', { kind: 'resource', resource: 'namespaces', name: 'default' }],
    ['/api/v1/namespaces/default/finalize', { kind: 'resource', resource: 'namespaces', subresource: 'finalize' }],
    ['/api/v1/namespaces/default/pods?watch=true', { kind: 'watch' }],
    ['/api/v1/namespaces/default/pods?watch', { kind: 'watch' }],
    ['/api/v1/namespaces/default/pods?watch=True', { kind: 'watch' }],
    ['/api/v1/namespaces/default/pods?watch=0', { kind: 'resource' }],
    ['/api/v1/namespaces/default/pods?watch=FaLse', { kind: 'resource' }],
    ['/api/v1/namespaces/default/pods/box?watch=true', { kind: 'resource' }],
    ['/api/v1/namespaces/default?watch=true', { kind: 'resource' }],
    ['/api/v1/namespaces?watch=true', { kind: 'watch', resource: 'namespaces' }],
    ['/api/v1/watch/namespaces/default/pods/box', { kind: 'watch', name: 'box' }],
    ['/apis/metrics.k8s.io/v1beta1/pods?watch=true', { kind: 'watch', group: 'metrics.k8s.io' }],
    [
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node?watch=true',
      { kind: 'resource', name: 'system:node' },
    ],
    ['/apis/apps/v1/deployments?watch=1&resourceVersion=5', { kind: 'watch', group: 'apps', resource: 'deployments' }],
    ['/api/v1/watch/namespaces/default/pods', { kind: 'watch', namespace: 'default' }],
    ['/api/v1/namespaces/d/pods/box/log', { kind: 'log' }],
    ['/api/v1/namespaces/d/pods/box/log?follow=true&container=c', { kind: 'log-follow' }],
    ['/api/v1/namespaces/d/pods/box/exec?command=ls', { kind: 'exec', name: 'box' }],
    ['/api/v1/namespaces/d/pods/box/attach', { kind: 'attach' }],
    ['/api/v1/namespaces/d/pods/box/portforward', { kind: 'port-forward' }],
    ['/api/v1/namespaces/d/services/web:80/proxy/x/exec', { kind: 'proxy', resource: 'services' }],
    [
      '/apis/subresources.kubevirt.io/v1/namespaces/d/virtualmachineinstances/vm/console',
      { kind: 'resource', subresource: 'console' },
    ],
  ];
  for (const [target, expected] of cases) t.match(parseApiRequest(target), expected, target);
});
