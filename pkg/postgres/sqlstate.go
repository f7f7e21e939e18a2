package postgres

// What a server refuses, and why: SQLSTATEs by their condition names, as in the appendix
// "PostgreSQL Error Codes".
const (
	InvalidParameterValue        = "22023"
	InvalidCatalogName           = "3D000" // no such database
	SerializationFailure         = "40001" // also a query that recovery has cancelled
	DeadlockDetected             = "40P01"
	InsufficientPrivilege        = "42501"
	UndefinedObject              = "42704"
	DuplicateObject              = "42710"
	UndefinedTable               = "42P01"
	TooManyConnections           = "53300"
	ConfigurationLimitExceeded   = "53400" // no slot is left, say
	ProgramLimitExceeded         = "54000"
	ObjectNotInPrerequisiteState = "55000"
	ObjectInUse                  = "55006"
	LockNotAvailable             = "55P03" // lock_timeout is over
	QueryCanceled                = "57014" // statement_timeout is over, or somebody has cancelled it
	CannotConnectNow             = "57P03" // it starts up, shuts down, or is in recovery with hot_standby off
	UndefinedFile                = "58P01"
	DataCorrupted                = "XX001"
	IndexCorrupted               = "XX002"
)
