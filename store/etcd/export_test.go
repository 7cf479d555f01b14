package etcd

// Explained is for a test of what is logged.
var Explained = (*Keeper).explained

// For tests of what two keepers do at the same moment.
var (
	Where = (*Keeper).where
	Renew = (*Keeper).renew
)
