package embedded

// Break makes the member stop by itself.
func (m *Member) Break() { m.server.Server.HardStop() }
