package mongoerr

import "strconv"

// The codes that have a name. A code without one is reported as
// "Location" and its number.
const (
	InternalError                                               Code = 1
	BadValue                                                    Code = 2
	NoSuchKey                                                   Code = 4
	GraphContainsCycle                                          Code = 5
	HostUnreachable                                             Code = 6
	HostNotFound                                                Code = 7
	UnknownError                                                Code = 8
	FailedToParse                                               Code = 9
	CannotMutateObject                                          Code = 10
	UserNotFound                                                Code = 11
	UnsupportedFormat                                           Code = 12
	Unauthorized                                                Code = 13
	TypeMismatch                                                Code = 14
	Overflow                                                    Code = 15
	InvalidLength                                               Code = 16
	ProtocolError                                               Code = 17
	AuthenticationFailed                                        Code = 18
	CannotReuseObject                                           Code = 19
	IllegalOperation                                            Code = 20
	EmptyArrayOperation                                         Code = 21
	InvalidBSON                                                 Code = 22
	AlreadyInitialized                                          Code = 23
	LockTimeout                                                 Code = 24
	RemoteValidationError                                       Code = 25
	NamespaceNotFound                                           Code = 26
	IndexNotFound                                               Code = 27
	PathNotViable                                               Code = 28
	NonExistentPath                                             Code = 29
	InvalidPath                                                 Code = 30
	RoleNotFound                                                Code = 31
	RolesNotRelated                                             Code = 32
	PrivilegeNotFound                                           Code = 33
	CannotBackfillArray                                         Code = 34
	UserModificationFailed                                      Code = 35
	RemoteChangeDetected                                        Code = 36
	FileRenameFailed                                            Code = 37
	FileNotOpen                                                 Code = 38
	FileStreamFailed                                            Code = 39
	ConflictingUpdateOperators                                  Code = 40
	FileAlreadyOpen                                             Code = 41
	LogWriteFailed                                              Code = 42
	CursorNotFound                                              Code = 43
	UserDataInconsistent                                        Code = 45
	LockBusy                                                    Code = 46
	NoMatchingDocument                                          Code = 47
	NamespaceExists                                             Code = 48
	InvalidRoleModification                                     Code = 49
	MaxTimeMSExpired                                            Code = 50
	ManualInterventionRequired                                  Code = 51
	DollarPrefixedFieldName                                     Code = 52
	InvalidIdField                                              Code = 53
	NotSingleValueField                                         Code = 54
	InvalidDBRef                                                Code = 55
	EmptyFieldName                                              Code = 56
	DottedFieldName                                             Code = 57
	RoleModificationFailed                                      Code = 58
	CommandNotFound                                             Code = 59
	ShardKeyNotFound                                            Code = 61
	OplogOperationUnsupported                                   Code = 62
	StaleShardVersion                                           Code = 63
	WriteConcernFailed                                          Code = 64
	MultipleErrorsOccurred                                      Code = 65
	ImmutableField                                              Code = 66
	CannotCreateIndex                                           Code = 67
	IndexAlreadyExists                                          Code = 68
	AuthSchemaIncompatible                                      Code = 69
	ShardNotFound                                               Code = 70
	ReplicaSetNotFound                                          Code = 71
	InvalidOptions                                              Code = 72
	InvalidNamespace                                            Code = 73
	NodeNotFound                                                Code = 74
	WriteConcernLegacyOK                                        Code = 75
	NoReplicationEnabled                                        Code = 76
	OperationIncomplete                                         Code = 77
	CommandResultSchemaViolation                                Code = 78
	UnknownReplWriteConcern                                     Code = 79
	RoleDataInconsistent                                        Code = 80
	NoMatchParseContext                                         Code = 81
	NoProgressMade                                              Code = 82
	RemoteResultsUnavailable                                    Code = 83
	DuplicateKeyValue                                           Code = 84
	IndexOptionsConflict                                        Code = 85
	IndexKeySpecsConflict                                       Code = 86
	CannotSplit                                                 Code = 87
	NetworkTimeout                                              Code = 89
	CallbackCanceled                                            Code = 90
	ShutdownInProgress                                          Code = 91
	SecondaryAheadOfPrimary                                     Code = 92
	InvalidReplicaSetConfig                                     Code = 93
	NotYetInitialized                                           Code = 94
	NotSecondary                                                Code = 95
	OperationFailed                                             Code = 96
	NoProjectionFound                                           Code = 97
	DBPathInUse                                                 Code = 98
	UnsatisfiableWriteConcern                                   Code = 100
	OutdatedClient                                              Code = 101
	IncompatibleAuditMetadata                                   Code = 102
	NewReplicaSetConfigurationIncompatible                      Code = 103
	NodeNotElectable                                            Code = 104
	IncompatibleShardingMetadata                                Code = 105
	DistributedClockSkewed                                      Code = 106
	LockFailed                                                  Code = 107
	InconsistentReplicaSetNames                                 Code = 108
	ConfigurationInProgress                                     Code = 109
	CannotInitializeNodeWithData                                Code = 110
	NotExactValueField                                          Code = 111
	WriteConflict                                               Code = 112
	InitialSyncFailure                                          Code = 113
	InitialSyncOplogSourceMissing                               Code = 114
	CommandNotSupported                                         Code = 115
	DocTooLargeForCapped                                        Code = 116
	ConflictingOperationInProgress                              Code = 117
	NamespaceNotSharded                                         Code = 118
	InvalidSyncSource                                           Code = 119
	OplogStartMissing                                           Code = 120
	DocumentValidationFailure                                   Code = 121
	NotAReplicaSet                                              Code = 123
	IncompatibleElectionProtocol                                Code = 124
	CommandFailed                                               Code = 125
	RPCProtocolNegotiationFailed                                Code = 126
	UnrecoverableRollbackError                                  Code = 127
	LockNotFound                                                Code = 128
	LockStateChangeFailed                                       Code = 129
	SymbolNotFound                                              Code = 130
	RLPInitializationFailed                                     Code = 131
	FailedToSatisfyReadPreference                               Code = 133
	ReadConcernMajorityNotAvailableYet                          Code = 134
	StaleTerm                                                   Code = 135
	CappedPositionLost                                          Code = 136
	IncompatibleShardingConfigVersion                           Code = 137
	RemoteOplogStale                                            Code = 138
	JSInterpreterFailure                                        Code = 139
	InvalidSSLConfiguration                                     Code = 140
	SSLHandshakeFailed                                          Code = 141
	JSUncatchableError                                          Code = 142
	CursorInUse                                                 Code = 143
	IncompatibleCatalogManager                                  Code = 144
	PooledConnectionsDropped                                    Code = 145
	ExceededMemoryLimit                                         Code = 146
	ZLibError                                                   Code = 147
	ReadConcernMajorityNotEnabled                               Code = 148
	NoConfigPrimary                                             Code = 149
	StaleEpoch                                                  Code = 150
	OperationCannotBeBatched                                    Code = 151
	OplogOutOfOrder                                             Code = 152
	ChunkTooBig                                                 Code = 153
	InconsistentShardIdentity                                   Code = 154
	CannotApplyOplogWhilePrimary                                Code = 155
	CanRepairToDowngrade                                        Code = 157
	MustUpgrade                                                 Code = 158
	DurationOverflow                                            Code = 159
	MaxStalenessOutOfRange                                      Code = 160
	IncompatibleCollationVersion                                Code = 161
	CollectionIsEmpty                                           Code = 162
	ZoneStillInUse                                              Code = 163
	InitialSyncActive                                           Code = 164
	ViewDepthLimitExceeded                                      Code = 165
	CommandNotSupportedOnView                                   Code = 166
	OptionNotSupportedOnView                                    Code = 167
	InvalidPipelineOperator                                     Code = 168
	CommandOnShardedViewNotSupportedOnMongod                    Code = 169
	TooManyMatchingDocuments                                    Code = 170
	CannotIndexParallelArrays                                   Code = 171
	TransportSessionClosed                                      Code = 172
	TransportSessionNotFound                                    Code = 173
	TransportSessionUnknown                                     Code = 174
	QueryPlanKilled                                             Code = 175
	FileOpenFailed                                              Code = 176
	ZoneNotFound                                                Code = 177
	RangeOverlapConflict                                        Code = 178
	WindowsPdhError                                             Code = 179
	BadPerfCounterPath                                          Code = 180
	AmbiguousIndexKeyPattern                                    Code = 181
	InvalidViewDefinition                                       Code = 182
	ClientMetadataMissingField                                  Code = 183
	ClientMetadataAppNameTooLarge                               Code = 184
	ClientMetadataDocumentTooLarge                              Code = 185
	ClientMetadataCannotBeMutated                               Code = 186
	LinearizableReadConcernError                                Code = 187
	IncompatibleServerVersion                                   Code = 188
	PrimarySteppedDown                                          Code = 189
	MasterSlaveConnectionFailure                                Code = 190
	FailPointEnabled                                            Code = 192
	NoShardingEnabled                                           Code = 193
	BalancerInterrupted                                         Code = 194
	ViewPipelineMaxSizeExceeded                                 Code = 195
	InvalidIndexSpecificationOption                             Code = 197
	ReplicaSetMonitorRemoved                                    Code = 199
	ChunkRangeCleanupPending                                    Code = 200
	CannotBuildIndexKeys                                        Code = 201
	NetworkInterfaceExceededTimeLimit                           Code = 202
	ShardingStateNotInitialized                                 Code = 203
	TimeProofMismatch                                           Code = 204
	ClusterTimeFailsRateLimiter                                 Code = 205
	NoSuchSession                                               Code = 206
	InvalidUUID                                                 Code = 207
	TooManyLocks                                                Code = 208
	StaleClusterTime                                            Code = 209
	CannotVerifyAndSignLogicalTime                              Code = 210
	KeyNotFound                                                 Code = 211
	IncompatibleRollbackAlgorithm                               Code = 212
	DuplicateSession                                            Code = 213
	AuthenticationRestrictionUnmet                              Code = 214
	DatabaseDropPending                                         Code = 215
	ElectionInProgress                                          Code = 216
	IncompleteTransactionHistory                                Code = 217
	UpdateOperationFailed                                       Code = 218
	FTDCPathNotSet                                              Code = 219
	FTDCPathAlreadySet                                          Code = 220
	IndexModified                                               Code = 221
	CloseChangeStream                                           Code = 222
	IllegalOpMsgFlag                                            Code = 223
	QueryFeatureNotAllowed                                      Code = 224
	TransactionTooOld                                           Code = 225
	AtomicityFailure                                            Code = 226
	CannotImplicitlyCreateCollection                            Code = 227
	SessionTransferIncomplete                                   Code = 228
	MustDowngrade                                               Code = 229
	DNSHostNotFound                                             Code = 230
	DNSProtocolError                                            Code = 231
	MaxSubPipelineDepthExceeded                                 Code = 232
	TooManyDocumentSequences                                    Code = 233
	RetryChangeStream                                           Code = 234
	InternalErrorNotSupported                                   Code = 235
	CursorKilled                                                Code = 237
	NotImplemented                                              Code = 238
	SnapshotTooOld                                              Code = 239
	DNSRecordTypeMismatch                                       Code = 240
	ConversionFailure                                           Code = 241
	CannotCreateCollection                                      Code = 242
	IncompatibleWithUpgradedServer                              Code = 243
	BrokenPromise                                               Code = 245
	SnapshotUnavailable                                         Code = 246
	ProducerConsumerQueueBatchTooLarge                          Code = 247
	ProducerConsumerQueueEndClosed                              Code = 248
	StaleDbVersion                                              Code = 249
	StaleChunkHistory                                           Code = 250
	NoSuchTransaction                                           Code = 251
	ReentrancyNotAllowed                                        Code = 252
	FreeMonHttpInFlight                                         Code = 253
	FreeMonHttpTemporaryFailure                                 Code = 254
	FreeMonHttpPermanentFailure                                 Code = 255
	TransactionCommitted                                        Code = 256
	TransactionTooLarge                                         Code = 257
	UnknownFeatureCompatibilityVersion                          Code = 258
	KeyedExecutorRetry                                          Code = 259
	InvalidResumeToken                                          Code = 260
	TooManyLogicalSessions                                      Code = 261
	ExceededTimeLimit                                           Code = 262
	OperationNotSupportedInTransaction                          Code = 263
	TooManyFilesOpen                                            Code = 264
	OrphanedRangeCleanUpFailed                                  Code = 265
	FailPointSetFailed                                          Code = 266
	PreparedTransactionInProgress                               Code = 267
	CannotBackup                                                Code = 268
	DataModifiedByRepair                                        Code = 269
	RepairedReplicaSetNode                                      Code = 270
	JSInterpreterFailureWithStack                               Code = 271
	MigrationConflict                                           Code = 272
	ProducerConsumerQueueProducerQueueDepthExceeded             Code = 273
	ProducerConsumerQueueConsumed                               Code = 274
	ExchangePassthrough                                         Code = 275
	IndexBuildAborted                                           Code = 276
	AlarmAlreadyFulfilled                                       Code = 277
	UnsatisfiableCommitQuorum                                   Code = 278
	ClientDisconnect                                            Code = 279
	ChangeStreamFatalError                                      Code = 280
	TransactionCoordinatorSteppingDown                          Code = 281
	TransactionCoordinatorReachedAbortDecision                  Code = 282
	WouldChangeOwningShard                                      Code = 283
	IndexBuildAlreadyInProgress                                 Code = 285
	ChangeStreamHistoryLost                                     Code = 286
	TransactionCoordinatorDeadlineTaskCanceled                  Code = 287
	ChecksumMismatch                                            Code = 288
	WaitForMajorityServiceEarlierOpTimeAvailable                Code = 289
	TransactionExceededLifetimeLimitSeconds                     Code = 290
	NoQueryExecutionPlans                                       Code = 291
	QueryExceededMemoryLimitNoDiskUseAllowed                    Code = 292
	InvalidSeedList                                             Code = 293
	InvalidTopologyType                                         Code = 294
	InvalidHeartBeatFrequency                                   Code = 295
	TopologySetNameRequired                                     Code = 296
	HierarchicalAcquisitionLevelViolation                       Code = 297
	InvalidServerType                                           Code = 298
	OCSPCertificateStatusRevoked                                Code = 299
	RangeDeletionAbandonedBecauseCollectionWithUUIDDoesNotExist Code = 300
	DataCorruptionDetected                                      Code = 301
	OCSPCertificateStatusUnknown                                Code = 302
	SplitHorizonChange                                          Code = 303
	ShardInvalidatedForTargeting                                Code = 304
	ReadThroughCacheKeyNotFound                                 Code = 305
	ReadThroughCacheLookupCanceled                              Code = 306
	RangeDeletionAbandonedBecauseTaskDocumentDoesNotExist       Code = 307
	CurrentConfigNotCommittedYet                                Code = 308
	ExhaustCommandFinished                                      Code = 309
	PeriodicJobIsStopped                                        Code = 310
	TransactionCoordinatorCanceled                              Code = 311
	OperationIsKilledAndDelisted                                Code = 312
	ResumableRangeDeleterDisabled                               Code = 313
	MovePrimaryInProgress                                       Code = 319
	TransactionTooLargeForCache                                 Code = 321
	APIVersionError                                             Code = 322
	APIStrictError                                              Code = 323
	APIDeprecationError                                         Code = 324
	TenantMigrationAborted                                      Code = 325
	OplogQueryMinTsMissing                                      Code = 326
	MechanismUnavailable                                        Code = 334
	UnsupportedOpQueryCommand                                   Code = 352
	TemporarilyUnavailable                                      Code = 365
	SocketException                                             Code = 9001
	CannotGrowDocumentInCappedNamespace                         Code = 10003
	NotWritablePrimary                                          Code = 10107
	BSONObjectTooLarge                                          Code = 10334
	DuplicateKey                                                Code = 11000
	InterruptedAtShutdown                                       Code = 11600
	Interrupted                                                 Code = 11601
	InterruptedDueToReplStateChange                             Code = 11602
	BackgroundOperationInProgressForDatabase                    Code = 12586
	BackgroundOperationInProgressForNamespace                   Code = 12587
	MergeStageNoMatchingDocument                                Code = 13113
	DatabaseDifferCase                                          Code = 13297
	StaleConfig                                                 Code = 13388
	NotPrimaryNoSecondaryOk                                     Code = 13435
	NotPrimaryOrSecondary                                       Code = 13436
	OutOfDiskSpace                                              Code = 14031
	ClientMarkedKilled                                          Code = 46841
)

// Name gives the codeName that the server puts into a reply.
func (c Code) Name() string {
	if n := c.knownName(); n != "" {
		return n
	}
	return "Location" + strconv.Itoa(int(c))
}

func (c Code) knownName() string {
	switch c {
	case 0:
		return "OK"
	case InternalError:
		return "InternalError"
	case BadValue:
		return "BadValue"
	case NoSuchKey:
		return "NoSuchKey"
	case GraphContainsCycle:
		return "GraphContainsCycle"
	case HostUnreachable:
		return "HostUnreachable"
	case HostNotFound:
		return "HostNotFound"
	case UnknownError:
		return "UnknownError"
	case FailedToParse:
		return "FailedToParse"
	case CannotMutateObject:
		return "CannotMutateObject"
	case UserNotFound:
		return "UserNotFound"
	case UnsupportedFormat:
		return "UnsupportedFormat"
	case Unauthorized:
		return "Unauthorized"
	case TypeMismatch:
		return "TypeMismatch"
	case Overflow:
		return "Overflow"
	case InvalidLength:
		return "InvalidLength"
	case ProtocolError:
		return "ProtocolError"
	case AuthenticationFailed:
		return "AuthenticationFailed"
	case CannotReuseObject:
		return "CannotReuseObject"
	case IllegalOperation:
		return "IllegalOperation"
	case EmptyArrayOperation:
		return "EmptyArrayOperation"
	case InvalidBSON:
		return "InvalidBSON"
	case AlreadyInitialized:
		return "AlreadyInitialized"
	case LockTimeout:
		return "LockTimeout"
	case RemoteValidationError:
		return "RemoteValidationError"
	case NamespaceNotFound:
		return "NamespaceNotFound"
	case IndexNotFound:
		return "IndexNotFound"
	case PathNotViable:
		return "PathNotViable"
	case NonExistentPath:
		return "NonExistentPath"
	case InvalidPath:
		return "InvalidPath"
	case RoleNotFound:
		return "RoleNotFound"
	case RolesNotRelated:
		return "RolesNotRelated"
	case PrivilegeNotFound:
		return "PrivilegeNotFound"
	case CannotBackfillArray:
		return "CannotBackfillArray"
	case UserModificationFailed:
		return "UserModificationFailed"
	case RemoteChangeDetected:
		return "RemoteChangeDetected"
	case FileRenameFailed:
		return "FileRenameFailed"
	case FileNotOpen:
		return "FileNotOpen"
	case FileStreamFailed:
		return "FileStreamFailed"
	case ConflictingUpdateOperators:
		return "ConflictingUpdateOperators"
	case FileAlreadyOpen:
		return "FileAlreadyOpen"
	case LogWriteFailed:
		return "LogWriteFailed"
	case CursorNotFound:
		return "CursorNotFound"
	case UserDataInconsistent:
		return "UserDataInconsistent"
	case LockBusy:
		return "LockBusy"
	case NoMatchingDocument:
		return "NoMatchingDocument"
	case NamespaceExists:
		return "NamespaceExists"
	case InvalidRoleModification:
		return "InvalidRoleModification"
	case MaxTimeMSExpired:
		return "MaxTimeMSExpired"
	case ManualInterventionRequired:
		return "ManualInterventionRequired"
	case DollarPrefixedFieldName:
		return "DollarPrefixedFieldName"
	case InvalidIdField:
		return "InvalidIdField"
	case NotSingleValueField:
		return "NotSingleValueField"
	case InvalidDBRef:
		return "InvalidDBRef"
	case EmptyFieldName:
		return "EmptyFieldName"
	case DottedFieldName:
		return "DottedFieldName"
	case RoleModificationFailed:
		return "RoleModificationFailed"
	case CommandNotFound:
		return "CommandNotFound"
	case ShardKeyNotFound:
		return "ShardKeyNotFound"
	case OplogOperationUnsupported:
		return "OplogOperationUnsupported"
	case StaleShardVersion:
		return "StaleShardVersion"
	case WriteConcernFailed:
		return "WriteConcernFailed"
	case MultipleErrorsOccurred:
		return "MultipleErrorsOccurred"
	case ImmutableField:
		return "ImmutableField"
	case CannotCreateIndex:
		return "CannotCreateIndex"
	case IndexAlreadyExists:
		return "IndexAlreadyExists"
	case AuthSchemaIncompatible:
		return "AuthSchemaIncompatible"
	case ShardNotFound:
		return "ShardNotFound"
	case ReplicaSetNotFound:
		return "ReplicaSetNotFound"
	case InvalidOptions:
		return "InvalidOptions"
	case InvalidNamespace:
		return "InvalidNamespace"
	case NodeNotFound:
		return "NodeNotFound"
	case WriteConcernLegacyOK:
		return "WriteConcernLegacyOK"
	case NoReplicationEnabled:
		return "NoReplicationEnabled"
	case OperationIncomplete:
		return "OperationIncomplete"
	case CommandResultSchemaViolation:
		return "CommandResultSchemaViolation"
	case UnknownReplWriteConcern:
		return "UnknownReplWriteConcern"
	case RoleDataInconsistent:
		return "RoleDataInconsistent"
	case NoMatchParseContext:
		return "NoMatchParseContext"
	case NoProgressMade:
		return "NoProgressMade"
	case RemoteResultsUnavailable:
		return "RemoteResultsUnavailable"
	case DuplicateKeyValue:
		return "DuplicateKeyValue"
	case IndexOptionsConflict:
		return "IndexOptionsConflict"
	case IndexKeySpecsConflict:
		return "IndexKeySpecsConflict"
	case CannotSplit:
		return "CannotSplit"
	case NetworkTimeout:
		return "NetworkTimeout"
	case CallbackCanceled:
		return "CallbackCanceled"
	case ShutdownInProgress:
		return "ShutdownInProgress"
	case SecondaryAheadOfPrimary:
		return "SecondaryAheadOfPrimary"
	case InvalidReplicaSetConfig:
		return "InvalidReplicaSetConfig"
	case NotYetInitialized:
		return "NotYetInitialized"
	case NotSecondary:
		return "NotSecondary"
	case OperationFailed:
		return "OperationFailed"
	case NoProjectionFound:
		return "NoProjectionFound"
	case DBPathInUse:
		return "DBPathInUse"
	case UnsatisfiableWriteConcern:
		return "UnsatisfiableWriteConcern"
	case OutdatedClient:
		return "OutdatedClient"
	case IncompatibleAuditMetadata:
		return "IncompatibleAuditMetadata"
	case NewReplicaSetConfigurationIncompatible:
		return "NewReplicaSetConfigurationIncompatible"
	case NodeNotElectable:
		return "NodeNotElectable"
	case IncompatibleShardingMetadata:
		return "IncompatibleShardingMetadata"
	case DistributedClockSkewed:
		return "DistributedClockSkewed"
	case LockFailed:
		return "LockFailed"
	case InconsistentReplicaSetNames:
		return "InconsistentReplicaSetNames"
	case ConfigurationInProgress:
		return "ConfigurationInProgress"
	case CannotInitializeNodeWithData:
		return "CannotInitializeNodeWithData"
	case NotExactValueField:
		return "NotExactValueField"
	case WriteConflict:
		return "WriteConflict"
	case InitialSyncFailure:
		return "InitialSyncFailure"
	case InitialSyncOplogSourceMissing:
		return "InitialSyncOplogSourceMissing"
	case CommandNotSupported:
		return "CommandNotSupported"
	case DocTooLargeForCapped:
		return "DocTooLargeForCapped"
	case ConflictingOperationInProgress:
		return "ConflictingOperationInProgress"
	case NamespaceNotSharded:
		return "NamespaceNotSharded"
	case InvalidSyncSource:
		return "InvalidSyncSource"
	case OplogStartMissing:
		return "OplogStartMissing"
	case DocumentValidationFailure:
		return "DocumentValidationFailure"
	case NotAReplicaSet:
		return "NotAReplicaSet"
	case IncompatibleElectionProtocol:
		return "IncompatibleElectionProtocol"
	case CommandFailed:
		return "CommandFailed"
	case RPCProtocolNegotiationFailed:
		return "RPCProtocolNegotiationFailed"
	case UnrecoverableRollbackError:
		return "UnrecoverableRollbackError"
	case LockNotFound:
		return "LockNotFound"
	case LockStateChangeFailed:
		return "LockStateChangeFailed"
	case SymbolNotFound:
		return "SymbolNotFound"
	case RLPInitializationFailed:
		return "RLPInitializationFailed"
	case FailedToSatisfyReadPreference:
		return "FailedToSatisfyReadPreference"
	case ReadConcernMajorityNotAvailableYet:
		return "ReadConcernMajorityNotAvailableYet"
	case StaleTerm:
		return "StaleTerm"
	case CappedPositionLost:
		return "CappedPositionLost"
	case IncompatibleShardingConfigVersion:
		return "IncompatibleShardingConfigVersion"
	case RemoteOplogStale:
		return "RemoteOplogStale"
	case JSInterpreterFailure:
		return "JSInterpreterFailure"
	case InvalidSSLConfiguration:
		return "InvalidSSLConfiguration"
	case SSLHandshakeFailed:
		return "SSLHandshakeFailed"
	case JSUncatchableError:
		return "JSUncatchableError"
	case CursorInUse:
		return "CursorInUse"
	case IncompatibleCatalogManager:
		return "IncompatibleCatalogManager"
	case PooledConnectionsDropped:
		return "PooledConnectionsDropped"
	case ExceededMemoryLimit:
		return "ExceededMemoryLimit"
	case ZLibError:
		return "ZLibError"
	case ReadConcernMajorityNotEnabled:
		return "ReadConcernMajorityNotEnabled"
	case NoConfigPrimary:
		return "NoConfigPrimary"
	case StaleEpoch:
		return "StaleEpoch"
	case OperationCannotBeBatched:
		return "OperationCannotBeBatched"
	case OplogOutOfOrder:
		return "OplogOutOfOrder"
	case ChunkTooBig:
		return "ChunkTooBig"
	case InconsistentShardIdentity:
		return "InconsistentShardIdentity"
	case CannotApplyOplogWhilePrimary:
		return "CannotApplyOplogWhilePrimary"
	case CanRepairToDowngrade:
		return "CanRepairToDowngrade"
	case MustUpgrade:
		return "MustUpgrade"
	case DurationOverflow:
		return "DurationOverflow"
	case MaxStalenessOutOfRange:
		return "MaxStalenessOutOfRange"
	case IncompatibleCollationVersion:
		return "IncompatibleCollationVersion"
	case CollectionIsEmpty:
		return "CollectionIsEmpty"
	case ZoneStillInUse:
		return "ZoneStillInUse"
	case InitialSyncActive:
		return "InitialSyncActive"
	case ViewDepthLimitExceeded:
		return "ViewDepthLimitExceeded"
	case CommandNotSupportedOnView:
		return "CommandNotSupportedOnView"
	case OptionNotSupportedOnView:
		return "OptionNotSupportedOnView"
	case InvalidPipelineOperator:
		return "InvalidPipelineOperator"
	case CommandOnShardedViewNotSupportedOnMongod:
		return "CommandOnShardedViewNotSupportedOnMongod"
	case TooManyMatchingDocuments:
		return "TooManyMatchingDocuments"
	case CannotIndexParallelArrays:
		return "CannotIndexParallelArrays"
	case TransportSessionClosed:
		return "TransportSessionClosed"
	case TransportSessionNotFound:
		return "TransportSessionNotFound"
	case TransportSessionUnknown:
		return "TransportSessionUnknown"
	case QueryPlanKilled:
		return "QueryPlanKilled"
	case FileOpenFailed:
		return "FileOpenFailed"
	case ZoneNotFound:
		return "ZoneNotFound"
	case RangeOverlapConflict:
		return "RangeOverlapConflict"
	case WindowsPdhError:
		return "WindowsPdhError"
	case BadPerfCounterPath:
		return "BadPerfCounterPath"
	case AmbiguousIndexKeyPattern:
		return "AmbiguousIndexKeyPattern"
	case InvalidViewDefinition:
		return "InvalidViewDefinition"
	case ClientMetadataMissingField:
		return "ClientMetadataMissingField"
	case ClientMetadataAppNameTooLarge:
		return "ClientMetadataAppNameTooLarge"
	case ClientMetadataDocumentTooLarge:
		return "ClientMetadataDocumentTooLarge"
	case ClientMetadataCannotBeMutated:
		return "ClientMetadataCannotBeMutated"
	case LinearizableReadConcernError:
		return "LinearizableReadConcernError"
	case IncompatibleServerVersion:
		return "IncompatibleServerVersion"
	case PrimarySteppedDown:
		return "PrimarySteppedDown"
	case MasterSlaveConnectionFailure:
		return "MasterSlaveConnectionFailure"
	case FailPointEnabled:
		return "FailPointEnabled"
	case NoShardingEnabled:
		return "NoShardingEnabled"
	case BalancerInterrupted:
		return "BalancerInterrupted"
	case ViewPipelineMaxSizeExceeded:
		return "ViewPipelineMaxSizeExceeded"
	case InvalidIndexSpecificationOption:
		return "InvalidIndexSpecificationOption"
	case ReplicaSetMonitorRemoved:
		return "ReplicaSetMonitorRemoved"
	case ChunkRangeCleanupPending:
		return "ChunkRangeCleanupPending"
	case CannotBuildIndexKeys:
		return "CannotBuildIndexKeys"
	case NetworkInterfaceExceededTimeLimit:
		return "NetworkInterfaceExceededTimeLimit"
	case ShardingStateNotInitialized:
		return "ShardingStateNotInitialized"
	case TimeProofMismatch:
		return "TimeProofMismatch"
	case ClusterTimeFailsRateLimiter:
		return "ClusterTimeFailsRateLimiter"
	case NoSuchSession:
		return "NoSuchSession"
	case InvalidUUID:
		return "InvalidUUID"
	case TooManyLocks:
		return "TooManyLocks"
	case StaleClusterTime:
		return "StaleClusterTime"
	case CannotVerifyAndSignLogicalTime:
		return "CannotVerifyAndSignLogicalTime"
	case KeyNotFound:
		return "KeyNotFound"
	case IncompatibleRollbackAlgorithm:
		return "IncompatibleRollbackAlgorithm"
	case DuplicateSession:
		return "DuplicateSession"
	case AuthenticationRestrictionUnmet:
		return "AuthenticationRestrictionUnmet"
	case DatabaseDropPending:
		return "DatabaseDropPending"
	case ElectionInProgress:
		return "ElectionInProgress"
	case IncompleteTransactionHistory:
		return "IncompleteTransactionHistory"
	case UpdateOperationFailed:
		return "UpdateOperationFailed"
	case FTDCPathNotSet:
		return "FTDCPathNotSet"
	case FTDCPathAlreadySet:
		return "FTDCPathAlreadySet"
	case IndexModified:
		return "IndexModified"
	case CloseChangeStream:
		return "CloseChangeStream"
	case IllegalOpMsgFlag:
		return "IllegalOpMsgFlag"
	case QueryFeatureNotAllowed:
		return "QueryFeatureNotAllowed"
	case TransactionTooOld:
		return "TransactionTooOld"
	case AtomicityFailure:
		return "AtomicityFailure"
	case CannotImplicitlyCreateCollection:
		return "CannotImplicitlyCreateCollection"
	case SessionTransferIncomplete:
		return "SessionTransferIncomplete"
	case MustDowngrade:
		return "MustDowngrade"
	case DNSHostNotFound:
		return "DNSHostNotFound"
	case DNSProtocolError:
		return "DNSProtocolError"
	case MaxSubPipelineDepthExceeded:
		return "MaxSubPipelineDepthExceeded"
	case TooManyDocumentSequences:
		return "TooManyDocumentSequences"
	case RetryChangeStream:
		return "RetryChangeStream"
	case InternalErrorNotSupported:
		return "InternalErrorNotSupported"
	case CursorKilled:
		return "CursorKilled"
	case NotImplemented:
		return "NotImplemented"
	case SnapshotTooOld:
		return "SnapshotTooOld"
	case DNSRecordTypeMismatch:
		return "DNSRecordTypeMismatch"
	case ConversionFailure:
		return "ConversionFailure"
	case CannotCreateCollection:
		return "CannotCreateCollection"
	case IncompatibleWithUpgradedServer:
		return "IncompatibleWithUpgradedServer"
	case BrokenPromise:
		return "BrokenPromise"
	case SnapshotUnavailable:
		return "SnapshotUnavailable"
	case ProducerConsumerQueueBatchTooLarge:
		return "ProducerConsumerQueueBatchTooLarge"
	case ProducerConsumerQueueEndClosed:
		return "ProducerConsumerQueueEndClosed"
	case StaleDbVersion:
		return "StaleDbVersion"
	case StaleChunkHistory:
		return "StaleChunkHistory"
	case NoSuchTransaction:
		return "NoSuchTransaction"
	case ReentrancyNotAllowed:
		return "ReentrancyNotAllowed"
	case FreeMonHttpInFlight:
		return "FreeMonHttpInFlight"
	case FreeMonHttpTemporaryFailure:
		return "FreeMonHttpTemporaryFailure"
	case FreeMonHttpPermanentFailure:
		return "FreeMonHttpPermanentFailure"
	case TransactionCommitted:
		return "TransactionCommitted"
	case TransactionTooLarge:
		return "TransactionTooLarge"
	case UnknownFeatureCompatibilityVersion:
		return "UnknownFeatureCompatibilityVersion"
	case KeyedExecutorRetry:
		return "KeyedExecutorRetry"
	case InvalidResumeToken:
		return "InvalidResumeToken"
	case TooManyLogicalSessions:
		return "TooManyLogicalSessions"
	case ExceededTimeLimit:
		return "ExceededTimeLimit"
	case OperationNotSupportedInTransaction:
		return "OperationNotSupportedInTransaction"
	case TooManyFilesOpen:
		return "TooManyFilesOpen"
	case OrphanedRangeCleanUpFailed:
		return "OrphanedRangeCleanUpFailed"
	case FailPointSetFailed:
		return "FailPointSetFailed"
	case PreparedTransactionInProgress:
		return "PreparedTransactionInProgress"
	case CannotBackup:
		return "CannotBackup"
	case DataModifiedByRepair:
		return "DataModifiedByRepair"
	case RepairedReplicaSetNode:
		return "RepairedReplicaSetNode"
	case JSInterpreterFailureWithStack:
		return "JSInterpreterFailureWithStack"
	case MigrationConflict:
		return "MigrationConflict"
	case ProducerConsumerQueueProducerQueueDepthExceeded:
		return "ProducerConsumerQueueProducerQueueDepthExceeded"
	case ProducerConsumerQueueConsumed:
		return "ProducerConsumerQueueConsumed"
	case ExchangePassthrough:
		return "ExchangePassthrough"
	case IndexBuildAborted:
		return "IndexBuildAborted"
	case AlarmAlreadyFulfilled:
		return "AlarmAlreadyFulfilled"
	case UnsatisfiableCommitQuorum:
		return "UnsatisfiableCommitQuorum"
	case ClientDisconnect:
		return "ClientDisconnect"
	case ChangeStreamFatalError:
		return "ChangeStreamFatalError"
	case TransactionCoordinatorSteppingDown:
		return "TransactionCoordinatorSteppingDown"
	case TransactionCoordinatorReachedAbortDecision:
		return "TransactionCoordinatorReachedAbortDecision"
	case WouldChangeOwningShard:
		return "WouldChangeOwningShard"
	case IndexBuildAlreadyInProgress:
		return "IndexBuildAlreadyInProgress"
	case ChangeStreamHistoryLost:
		return "ChangeStreamHistoryLost"
	case TransactionCoordinatorDeadlineTaskCanceled:
		return "TransactionCoordinatorDeadlineTaskCanceled"
	case ChecksumMismatch:
		return "ChecksumMismatch"
	case WaitForMajorityServiceEarlierOpTimeAvailable:
		return "WaitForMajorityServiceEarlierOpTimeAvailable"
	case TransactionExceededLifetimeLimitSeconds:
		return "TransactionExceededLifetimeLimitSeconds"
	case NoQueryExecutionPlans:
		return "NoQueryExecutionPlans"
	case QueryExceededMemoryLimitNoDiskUseAllowed:
		return "QueryExceededMemoryLimitNoDiskUseAllowed"
	case InvalidSeedList:
		return "InvalidSeedList"
	case InvalidTopologyType:
		return "InvalidTopologyType"
	case InvalidHeartBeatFrequency:
		return "InvalidHeartBeatFrequency"
	case TopologySetNameRequired:
		return "TopologySetNameRequired"
	case HierarchicalAcquisitionLevelViolation:
		return "HierarchicalAcquisitionLevelViolation"
	case InvalidServerType:
		return "InvalidServerType"
	case OCSPCertificateStatusRevoked:
		return "OCSPCertificateStatusRevoked"
	case RangeDeletionAbandonedBecauseCollectionWithUUIDDoesNotExist:
		return "RangeDeletionAbandonedBecauseCollectionWithUUIDDoesNotExist"
	case DataCorruptionDetected:
		return "DataCorruptionDetected"
	case OCSPCertificateStatusUnknown:
		return "OCSPCertificateStatusUnknown"
	case SplitHorizonChange:
		return "SplitHorizonChange"
	case ShardInvalidatedForTargeting:
		return "ShardInvalidatedForTargeting"
	case ReadThroughCacheKeyNotFound:
		return "ReadThroughCacheKeyNotFound"
	case ReadThroughCacheLookupCanceled:
		return "ReadThroughCacheLookupCanceled"
	case RangeDeletionAbandonedBecauseTaskDocumentDoesNotExist:
		return "RangeDeletionAbandonedBecauseTaskDocumentDoesNotExist"
	case CurrentConfigNotCommittedYet:
		return "CurrentConfigNotCommittedYet"
	case ExhaustCommandFinished:
		return "ExhaustCommandFinished"
	case PeriodicJobIsStopped:
		return "PeriodicJobIsStopped"
	case TransactionCoordinatorCanceled:
		return "TransactionCoordinatorCanceled"
	case OperationIsKilledAndDelisted:
		return "OperationIsKilledAndDelisted"
	case ResumableRangeDeleterDisabled:
		return "ResumableRangeDeleterDisabled"
	case MovePrimaryInProgress:
		return "MovePrimaryInProgress"
	case TransactionTooLargeForCache:
		return "TransactionTooLargeForCache"
	case APIVersionError:
		return "APIVersionError"
	case APIStrictError:
		return "APIStrictError"
	case APIDeprecationError:
		return "APIDeprecationError"
	case TenantMigrationAborted:
		return "TenantMigrationAborted"
	case OplogQueryMinTsMissing:
		return "OplogQueryMinTsMissing"
	case MechanismUnavailable:
		return "MechanismUnavailable"
	case UnsupportedOpQueryCommand:
		return "UnsupportedOpQueryCommand"
	case TemporarilyUnavailable:
		return "TemporarilyUnavailable"
	case SocketException:
		return "SocketException"
	case CannotGrowDocumentInCappedNamespace:
		return "CannotGrowDocumentInCappedNamespace"
	case NotWritablePrimary:
		return "NotWritablePrimary"
	case BSONObjectTooLarge:
		return "BSONObjectTooLarge"
	case DuplicateKey:
		return "DuplicateKey"
	case InterruptedAtShutdown:
		return "InterruptedAtShutdown"
	case Interrupted:
		return "Interrupted"
	case InterruptedDueToReplStateChange:
		return "InterruptedDueToReplStateChange"
	case BackgroundOperationInProgressForDatabase:
		return "BackgroundOperationInProgressForDatabase"
	case BackgroundOperationInProgressForNamespace:
		return "BackgroundOperationInProgressForNamespace"
	case MergeStageNoMatchingDocument:
		return "MergeStageNoMatchingDocument"
	case DatabaseDifferCase:
		return "DatabaseDifferCase"
	case StaleConfig:
		return "StaleConfig"
	case NotPrimaryNoSecondaryOk:
		return "NotPrimaryNoSecondaryOk"
	case NotPrimaryOrSecondary:
		return "NotPrimaryOrSecondary"
	case OutOfDiskSpace:
		return "OutOfDiskSpace"
	case ClientMarkedKilled:
		return "ClientMarkedKilled"
	default:
		return ""
	}
}
