export const ACCESS_TYPES = `
package io.k8s.api.rbac.v1
Role: Rules that may be granted in a namespace.
  1 metadata ObjectMeta : Standard object's metadata.
  2 rules []PolicyRule : What is allowed.
ClusterRole: Rules that may be granted in the cluster or in a namespace.
  1 metadata ObjectMeta : Standard object's metadata.
  2 rules []PolicyRule : What is allowed.
  3 aggregationRule object : Which cluster roles are combined.
PolicyRule: What is allowed.
  1 verbs* []string : The verbs, or *.
  2 apiGroups []string : The API groups, or *.
  3 resources []string : The resources, or *.
  4 resourceNames []string : The names; empty means all.
  5 nonResourceURLs []string : Paths that are no resources.
RoleBinding: Grants a role in a namespace.
  1 metadata ObjectMeta : Standard object's metadata.
  2 subjects []Subject : Who gets the role.
  3 roleRef* RoleRef : The role. Cannot be changed.
ClusterRoleBinding: Grants a cluster role in the whole cluster.
  1 metadata ObjectMeta : Standard object's metadata.
  2 subjects []Subject : Who gets the role.
  3 roleRef* RoleRef : The role. Cannot be changed.
Subject atomic: A user, a group or a service account.
  1 kind* string : User, Group or ServiceAccount.
  2 apiGroup string : The API group of the kind.
  3 name* string : The name.
  4 namespace string : The namespace of a service account.
RoleRef atomic: A role.
  1 apiGroup string : The API group of the role.
  2 kind* string : Role or ClusterRole.
  3 name* string : The name.
package io.k8s.api.authentication.v1
SelfSubjectReview: Who the server takes the caller for.
  1 metadata ObjectMeta : Standard object's metadata.
  2 status SelfSubjectReviewStatus : Filled in by the server.
SelfSubjectReviewStatus: Who the caller is.
  1 userInfo UserInfo : The caller.
UserInfo: A user.
  1 username string : The name.
  2 uid string : The id.
  3 groups []string : The groups.
  4 extra {}object : Anything else.
TokenRequest: A request for a token of a service account.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec TokenRequestSpec : What is asked for.
  3 status TokenRequestStatus : The token.
TokenRequestSpec: What is asked for.
  1 audiences []string : Who is to accept the token.
  3 boundObjectRef BoundObjectReference : The object to which the token is bound.
  4 expirationSeconds int64 ptr : How long the token is to live.
BoundObjectReference: The object whose end is the token's end.
  1 kind string : Its kind.
  2 apiVersion string : Its API version.
  3 name string : Its name.
  4 uid string : Its id.
TokenRequestStatus: The token.
  1 token* string : The token.
  2 expirationTimestamp* time : When it expires.
package io.k8s.api.authorization.v1
SelfSubjectAccessReview: Whether the caller may do something.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec* SelfSubjectAccessReviewSpec : What is asked.
  3 status SubjectAccessReviewStatus : The answer.
SelfSubjectAccessReviewSpec: What is asked.
  1 resourceAttributes ResourceAttributes : About a resource.
  2 nonResourceAttributes NonResourceAttributes : About a path.
SubjectAccessReview: Whether someone may do something.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec* SubjectAccessReviewSpec : What is asked.
  3 status SubjectAccessReviewStatus : The answer.
SubjectAccessReviewSpec: What is asked.
  1 resourceAttributes ResourceAttributes : About a resource.
  2 nonResourceAttributes NonResourceAttributes : About a path.
  3 user string : The user.
  4 groups []string : The user's groups.
  5 extra {}object : Anything else about the user.
  6 uid string : The user's id.
LocalSubjectAccessReview: Whether someone may do something in a namespace.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec* SubjectAccessReviewSpec : What is asked.
  3 status SubjectAccessReviewStatus : The answer.
ResourceAttributes: A request for a resource.
  1 namespace string : The namespace.
  2 verb string : The verb.
  3 group string : The API group.
  4 version string : The version.
  5 resource string : The resource.
  6 subresource string : The subresource.
  7 name string : The name.
  8 fieldSelector object : The field selector.
  9 labelSelector object : The label selector.
NonResourceAttributes: A request for a path.
  1 path string : The path.
  2 verb string : The verb.
SubjectAccessReviewStatus: The answer.
  1 allowed* bool : Whether it is allowed.
  2 reason string : Why.
  3 evaluationError string : What went wrong.
  4 denied bool : Whether it is denied for good.
SelfSubjectRulesReview: What the caller may do in a namespace.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec* SelfSubjectRulesReviewSpec : What is asked.
  3 status SubjectRulesReviewStatus : The answer.
SubjectRulesReviewStatus: What someone may do in a namespace.
  1 resourceRules* []ResourceRule : With resources.
  2 nonResourceRules* []NonResourceRule : With paths.
  3 incomplete* bool : Whether there may be more.
  4 evaluationError string : What went wrong.
ResourceRule: What is allowed with resources.
  1 verbs* []string : The verbs, or *.
  2 apiGroups []string : The API groups, or *.
  3 resources []string : The resources, or *.
  4 resourceNames []string : The names; empty means all.
NonResourceRule: What is allowed with paths.
  1 verbs* []string : The verbs, or *.
  2 nonResourceURLs []string : The paths, or *.
SelfSubjectRulesReviewSpec: What is asked.
  1 namespace string : The namespace.
package io.k8s.api.coordination.v1
Lease: A claim that is renewed.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec LeaseSpec : The claim.
LeaseSpec: The claim.
  1 holderIdentity string : Who holds it.
  2 leaseDurationSeconds int32 : How long it lasts.
  3 acquireTime microtime : Since when.
  4 renewTime microtime : When it was last renewed.
  5 leaseTransitions int32 : How often the holder changed.
  6 strategy string : How a leader is chosen.
  7 preferredHolder string : Who is to hold it.
package io.k8s.api.events.v1
EventsEvent as Event: A report of something that happened to an object.
  1 metadata ObjectMeta : Standard object's metadata.
  2 eventTime* microtime : When it was first seen.
  3 series object : The series it belongs to.
  4 reportingController string : Who reports it.
  5 reportingInstance string : The instance of the controller.
  6 action string : What was done.
  7 reason string : What happened, for programs.
  8 regarding ObjectReference : What the event is about.
  9 related ObjectReference : A second object.
  10 note string : What happened, for people.
  11 type string : Normal or Warning.
  12 deprecatedSource EventSource : For the old event type.
  13 deprecatedFirstTimestamp time : For the old event type.
  14 deprecatedLastTimestamp time : For the old event type.
  15 deprecatedCount int32 : For the old event type.
package io.k8s.api.discovery.v1
EndpointSlice: Some of the addresses behind a service.
  1 metadata ObjectMeta : Standard object's metadata.
  2 endpoints []Endpoint : The addresses.
  3 ports []EndpointPort : The ports.
  4 addressType* string : IPv4, IPv6 or FQDN.
Endpoint: One address behind a service.
  1 addresses* []string : The address.
  2 conditions object : Whether it is ready, serving, terminating.
  3 hostname string : Its name.
  4 targetRef ObjectReference : The pod.
  5 deprecatedTopology {}string : Deprecated.
  6 nodeName string : The node.
  7 zone string : The zone.
  8 hints object : Who should use it.
EndpointPort atomic: A port of the addresses.
  1 name string : Its name.
  2 protocol string : TCP, UDP or SCTP.
  3 port int32 : The port.
  4 appProtocol string : The application protocol.
`;
