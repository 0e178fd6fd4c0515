export const TRAFFIC_TYPES = `
package io.k8s.api.autoscaling.v2
HorizontalPodAutoscaler: Scales a workload by what it uses.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec HorizontalPodAutoscalerSpec : The desired behavior of the autoscaler.
  3 status HorizontalPodAutoscalerStatus : The state of the autoscaler.
HorizontalPodAutoscalerSpec: The desired behavior of an autoscaler.
  1 scaleTargetRef* CrossVersionObjectReference : What is scaled.
  2 minReplicas int32 ptr : The least number of pods. Defaults to 1.
  3 maxReplicas* int32 : The greatest number of pods.
  4 metrics []MetricSpec : What is measured. Defaults to 80% of the requested CPU.
  5 behavior object : How fast pods are added and removed.
CrossVersionObjectReference atomic: An object of any kind.
  1 kind* string : Its kind.
  2 name* string : Its name.
  3 apiVersion string : Its API version.
MetricSpec: What is measured; the field that the type names is set.
  1 type* string : ContainerResource, External, Object, Pods or Resource.
  2 object object : Of another object.
  3 pods object : Of each pod, by any metric.
  4 resource ResourceMetricSource : Of each pod, its CPU or memory.
  5 external object : Of something outside the cluster.
  7 containerResource object : Of one container of each pod.
ResourceMetricSource: The CPU or memory of pods.
  1 name* string : The resource.
  2 target* MetricTarget : What is aimed at.
MetricTarget: What is aimed at.
  1 type* string : Utilization, Value or AverageValue.
  2 value quantity : The value.
  3 averageValue quantity : The mean of all pods.
  4 averageUtilization int32 ptr : The mean of all pods, in percent of what they request.
HorizontalPodAutoscalerStatus: The state of an autoscaler.
  1 observedGeneration int64 : The generation that the status belongs to.
  2 lastScaleTime time : When it last scaled.
  3 currentReplicas int32 : Pods that there are.
  4 desiredReplicas* int32 : Pods that are wanted.
  5 currentMetrics []object : What was measured.
  6 conditions []object map(type) : The current conditions.
package io.k8s.api.autoscaling.v1
HorizontalPodAutoscalerV1 as HorizontalPodAutoscaler: Scales a workload by the CPU that it uses.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec HorizontalPodAutoscalerV1Spec : The desired behavior of the autoscaler.
  3 status HorizontalPodAutoscalerV1Status : The state of the autoscaler.
HorizontalPodAutoscalerV1Spec as HorizontalPodAutoscalerSpec: The desired behavior of an autoscaler.
  1 scaleTargetRef* CrossVersionObjectReference : What is scaled.
  2 minReplicas int32 ptr : The least number of pods. Defaults to 1.
  3 maxReplicas* int32 : The greatest number of pods.
  4 targetCPUUtilizationPercentage int32 ptr : The mean of all pods, in percent of what they request.
HorizontalPodAutoscalerV1Status as HorizontalPodAutoscalerStatus: The state of an autoscaler.
  1 observedGeneration int64 : The generation that the status belongs to.
  2 lastScaleTime time : When it last scaled.
  3 currentReplicas* int32 : Pods that there are.
  4 desiredReplicas* int32 : Pods that are wanted.
  5 currentCPUUtilizationPercentage int32 ptr : What was measured.
package io.k8s.api.networking.v1
Ingress: Leads requests from outside to services.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec IngressSpec : The desired behavior of the ingress.
  3 status IngressStatus : The state of the ingress.
IngressSpec: The desired behavior of an ingress.
  1 defaultBackend IngressBackend : Where requests go that no rule matches.
  2 tls []IngressTLS : Certificates.
  3 rules []IngressRule : What goes where.
  4 ingressClassName string : The class, which names the controller.
IngressTLS: A certificate.
  1 hosts []string : The hosts that it is for.
  2 secretName string : The secret that holds it.
IngressRule: What goes where for one host.
  1 host string : The host; empty means any.
  2 inline IngressRuleValue
IngressRuleValue: What goes where.
  1 http HTTPIngressRuleValue : By path.
HTTPIngressRuleValue: What goes where, by path.
  1 paths* []HTTPIngressPath : The paths.
HTTPIngressPath: Where the requests of a path go.
  1 path string : The path.
  2 backend* IngressBackend : Where they go.
  3 pathType* string : Exact, Prefix or ImplementationSpecific.
IngressBackend: Where requests go.
  3 resource object : To another object.
  4 service IngressServiceBackend : To a service.
IngressServiceBackend: A service's port.
  1 name* string : The service.
  2 port ServiceBackendPort : The port.
ServiceBackendPort atomic: A port by name or number.
  1 name string : Its name.
  2 number int32 : Its number.
IngressStatus: The state of an ingress.
  1 loadBalancer object : Its addresses.
`;
