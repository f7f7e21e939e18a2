package facts

// SenderOf finds the walsender of a standby: by its application_name, or by the slot that it
// streams from. A standby that pg_basebackup -R made has the cluster_name as its
// application_name (12 and later), or "walreceiver".
func (s *Server) SenderOf(application, slot string) (Sender, bool) {
	if x, ok := s.Sender(application); ok {
		return x, true
	}
	by, ok := s.Slot(slot)
	if !ok || !by.Active {
		return Sender{}, false
	}
	for _, x := range s.Senders {
		if x.PID == by.ActivePID && x.PID != 0 {
			return x, true
		}
	}
	return Sender{}, false
}
