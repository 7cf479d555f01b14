package etcd

// For tests of what two keepers do at the same moment.
var (
	Where = (*Keeper).where
	Renew = (*Keeper).renew
)
