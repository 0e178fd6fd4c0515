export const CORE_TYPES = `
package io.k8s.api.core.v1
Namespace: A scope for names.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec NamespaceSpec : The desired behavior of the namespace.
  3 status NamespaceStatus : The state of the namespace.
NamespaceSpec: The desired behavior of a namespace.
  1 finalizers []string : Who must finish before the namespace is removed.
NamespaceStatus: The state of a namespace.
  1 phase string : Active or Terminating.
  2 conditions []object map(type) : The current conditions.
Node: A machine that runs pods.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec NodeSpec : The desired behavior of the node.
  3 status NodeStatus : The state of the node.
NodeSpec: The desired behavior of a node.
  1 podCIDR string : The addresses of its pods.
  2 externalID string : Deprecated.
  3 providerID string : The cloud provider's id.
  4 unschedulable bool : Takes no new pods.
  5 taints []Taint : What pods must tolerate.
  6 configSource object : Deprecated.
  7 podCIDRs []string set : All the addresses of its pods.
Taint: What pods must tolerate.
  1 key* string : The key.
  2 value string : The value.
  3 effect* string : NoSchedule, PreferNoSchedule or NoExecute.
  4 timeAdded time : When it was added.
NodeStatus: The state of a node.
  1 capacity {}quantity : All its resources.
  2 allocatable {}quantity : The resources for pods.
  3 phase string : Deprecated.
  4 conditions []NodeCondition map(type) : The current conditions.
  5 addresses []NodeAddress map(type) : Its addresses.
  6 daemonEndpoints object : Its ports.
  7 nodeInfo NodeSystemInfo : Its software.
  8 images []object : Its images.
  9 volumesInUse []string : Volumes in use.
  10 volumesAttached []object : Volumes attached.
  11 config object : Deprecated.
  12 runtimeHandlers []object : Its runtimes.
  13 features object : What it can do.
NodeCondition: One aspect of a node's state.
  1 type* string : The aspect.
  2 status* string : True, False or Unknown.
  3 lastHeartbeatTime time : When it was last seen.
  4 lastTransitionTime time : When it last changed.
  5 reason string : Why, for programs.
  6 message string : Why, for people.
NodeAddress: An address of a node.
  1 type* string : Hostname, InternalIP or ExternalIP.
  2 address* string : The address.
NodeSystemInfo: The software of a node.
  1 machineID* string : The machine's id.
  2 systemUUID* string : The system's id.
  3 bootID* string : The id of this boot.
  4 kernelVersion* string : The kernel.
  5 osImage* string : The operating system's image.
  6 containerRuntimeVersion* string : The container runtime.
  7 kubeletVersion* string : The kubelet.
  8 kubeProxyVersion* string : Deprecated.
  9 operatingSystem* string : The operating system.
  10 architecture* string : The processor.
  11 swap object : Its swap.
Service: A named abstraction of a port that a set of pods serves.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec ServiceSpec : The desired behavior of the service.
  3 status ServiceStatus : The state of the service.
ServiceSpec: The desired behavior of a service.
  1 ports []ServicePort map(port,protocol) : The ports that the service exposes.
  2 selector {}string atomic : The labels of the pods that get the traffic.
  3 clusterIP string : The service's address, or None.
  4 type string : ExternalName, ClusterIP, NodePort or LoadBalancer. Defaults to ClusterIP.
  5 externalIPs []string : Further addresses that nodes accept.
  7 sessionAffinity string : ClientIP or None.
  8 loadBalancerIP string : Deprecated.
  9 loadBalancerSourceRanges []string : Who may use the load balancer.
  10 externalName string : The name that an ExternalName service stands for.
  11 externalTrafficPolicy string : Local or Cluster.
  12 healthCheckNodePort int32 : The port of health checks.
  13 publishNotReadyAddresses bool : Whether pods that are not ready get traffic.
  14 sessionAffinityConfig object : Settings of session affinity.
  17 ipFamilyPolicy string : SingleStack, PreferDualStack or RequireDualStack.
  18 clusterIPs []string : All addresses of the service.
  19 ipFamilies []string : IPv4, IPv6.
  20 allocateLoadBalancerNodePorts bool : Whether node ports are allocated.
  21 loadBalancerClass string : The class of load balancer.
  22 internalTrafficPolicy string : Local or Cluster.
  23 trafficDistribution string : How traffic is spread.
ServicePort: A port of a service.
  1 name string : Its name; required when there are several.
  2 protocol string : TCP, UDP or SCTP. Defaults to TCP.
  3 port* int32 : The port.
  4 targetPort intstr : The port of the pods, by number or name.
  5 nodePort int32 : The port on each node.
  6 appProtocol string : The application protocol.
ServiceStatus: The state of a service.
  1 loadBalancer LoadBalancerStatus : The state of the load balancer.
  2 conditions []Condition map(type) : The current conditions.
LoadBalancerStatus: The state of a load balancer.
  1 ingress []LoadBalancerIngress : Where traffic comes in.
LoadBalancerIngress: Where the traffic of a load balancer comes in.
  1 ip string : The address.
  2 hostname string : The name.
  3 ipMode string ptr : VIP or Proxy.
  4 ports []PortStatus : The state of the ports.
PortStatus: The state of a port.
  1 port* int32 : The port.
  2 protocol* string : TCP, UDP or SCTP.
  3 error string : What is wrong with it.
ConfigMap: Configuration for pods to read.
  1 metadata ObjectMeta : Standard object's metadata.
  2 data {}string : The configuration, as text.
  3 binaryData {}bytes : The configuration, as bytes in base64.
  4 immutable bool ptr : Whether the data may no longer be changed.
Secret: Secret data; less than 1 MiB.
  1 metadata ObjectMeta : Standard object's metadata.
  2 data {}bytes : The data, in base64.
  3 type string : How the data is to be used.
  4 stringData {}string : Data as text; write-only.
  5 immutable bool ptr : Whether the data may no longer be changed.
ServiceAccount: An identity for processes.
  1 metadata ObjectMeta : Standard object's metadata.
  2 secrets []ObjectReference map(name) : Secrets that its pods may use.
  3 imagePullSecrets []LocalObjectReference : Secrets for pulling images.
  4 automountServiceAccountToken bool ptr : Whether its token is mounted.
ObjectReference atomic: A reference to any object.
  1 kind string : Its kind.
  2 namespace string : Its namespace.
  3 name string : Its name.
  4 uid string : Its UID.
  5 apiVersion string : Its API version.
  6 resourceVersion string : Its version.
  7 fieldPath string : A part of it.
Event: A report of something that happened to an object.
  1 metadata ObjectMeta : Standard object's metadata.
  2 involvedObject ObjectReference : What the event is about.
  3 reason string : What happened, for programs.
  4 message string : What happened, for people.
  5 source EventSource : Who reports it.
  6 firstTimestamp time : When it was first seen.
  7 lastTimestamp time : When it was last seen.
  8 count int32 : How often it was seen.
  9 type string : Normal or Warning.
  10 eventTime microtime : When it was first seen.
  11 series object : The series it belongs to.
  12 action string : What was done.
  13 related ObjectReference : A second object.
  14 reportingComponent string : The controller that reports it.
  15 reportingInstance string : The instance of the controller.
EventSource: Who reports an event.
  1 component string : The component.
  2 host string : The node.
Endpoints: The addresses behind a service. Deprecated: use EndpointSlice.
  1 metadata ObjectMeta : Standard object's metadata.
  2 subsets []object : The addresses and ports.
PersistentVolumeClaim: A request for a volume.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec PersistentVolumeClaimSpec : The volume that is wanted.
  3 status object : The state of the claim.
PersistentVolumeClaimSpec: The volume that is wanted.
  1 accessModes []string : How it is accessed.
  2 resources object : How big it is.
  3 volumeName string : The volume that is bound.
  4 selector LabelSelector : Which volumes may be bound.
  5 storageClassName string : The storage class.
  6 volumeMode string : Filesystem or Block.
  7 dataSource object : What fills it.
  8 dataSourceRef object : What fills it.
  9 volumeAttributesClassName string : The attributes class.
PersistentVolume: A volume of the cluster.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec object : The volume.
  3 status object : The state of the volume.
`;
