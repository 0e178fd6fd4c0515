export const META_TYPES = `
package io.k8s.apimachinery.pkg.apis.meta.v1
ObjectMeta: Metadata that all persisted objects have, which includes everything users and controllers may say about an object's identity.
  1 name string : Unique within a namespace and resource. Required when creating most objects; cannot be changed.
  2 generateName string : A prefix from which the server makes a unique name, used when no name is given.
  3 namespace string : The space within which the name must be unique. Cannot be changed.
  4 selfLink string : Deprecated, never filled in.
  5 uid string : Unique in time and space, given by the server when the object is created. Read-only.
  6 resourceVersion string : Opaque version of the object, for optimistic concurrency and watches. Read-only.
  7 generation int64 : Sequence number of the desired state. Read-only.
  8 creationTimestamp time : When the server created the object. Read-only.
  9 deletionTimestamp time : When the object will be gone; set by the server on a graceful deletion. Read-only.
  10 deletionGracePeriodSeconds int64 ptr : How long the object may take to end before it is removed. Read-only.
  11 labels {}string : Keys and values that organise and select objects.
  12 annotations {}string : Unstructured keys and values that tools store with the object.
  13 ownerReferences []OwnerReference map(uid) : The objects on which this one depends; when all of them are gone this one is collected.
  14 finalizers []string set : Who must finish before the object is removed.
  17 managedFields []ManagedFieldsEntry : Which manager set which field. Kept by the server.
OwnerReference atomic: Enough information to identify an owning object in the same namespace.
  5 apiVersion* string : API version of the owner.
  1 kind* string : Kind of the owner.
  3 name* string : Name of the owner.
  4 uid* string : UID of the owner.
  6 controller bool ptr : Whether the owner is the managing controller.
  7 blockOwnerDeletion bool ptr : Whether a foreground deletion of the owner waits for this object.
ManagedFieldsEntry: A workflow and the set of fields that it manages.
  1 manager string : Identifier of the workflow.
  2 operation string : Apply or Update.
  3 apiVersion string : The version in which the fields are named.
  4 time time : When the entry was last changed.
  6 fieldsType string : The format of the fields; only FieldsV1 exists.
  7 fieldsV1 fields : The set of fields.
  8 subresource string : The subresource through which the fields were set.
ListMeta: Metadata that lists have.
  1 selfLink string : Deprecated, never filled in.
  2 resourceVersion string : The version of the list; a watch continues from it.
  3 continue string : The token of the next page, empty at the end.
  4 remainingItemCount int64 : How many items follow this page.
LabelSelector atomic: A query over labels; an empty selector matches everything, a null one nothing.
  1 matchLabels {}string : Labels and the values they must have, all of them.
  2 matchExpressions []LabelSelectorRequirement : Further requirements, all of which must hold.
LabelSelectorRequirement: A key, an operator and values.
  1 key* string : The label.
  2 operator* string : In, NotIn, Exists or DoesNotExist.
  3 values []string : The values for In and NotIn.
Condition: One aspect of the current state of an object.
  1 type* string : The aspect, in CamelCase.
  2 status* string : True, False or Unknown.
  3 observedGeneration int64 : The generation that the condition was set for.
  4 lastTransitionTime* time : When the status last changed.
  5 reason* string : A CamelCase word that says why.
  6 message* string : Details for people.
DeleteOptions: What a client may say about a deletion.
  1 gracePeriodSeconds int64 ptr : Seconds that the object may take to end; zero removes it at once.
  2 preconditions Preconditions : What must hold for the deletion to be carried out.
  3 orphanDependents bool : Deprecated: use propagationPolicy.
  4 propagationPolicy string : Orphan, Background or Foreground.
  5 dryRun []string : All, to change nothing.
Preconditions: What must hold for an operation to be carried out.
  1 uid string : The UID that the object must have.
  2 resourceVersion string : The version that the object must have.
Status: The answer of a call that returns no other object.
  1 metadata ListMeta : Standard list metadata.
  2 status string : Success or Failure.
  3 message string : What happened, for people.
  4 reason string : What happened, for programs.
  5 details object : More about the reason.
  6 code int32 : The HTTP status code.
`;
