package hosttest

import "context"

// AskSocket is the call "tell PATH QUESTION", or "tell PATH as OWNER QUESTION".
func (s *Script) AskSocket(_ context.Context, as, path, question string) (string, error) {
	if as != "" {
		path += " as " + as
	}
	call, err := s.next("tell " + path + " " + question)
	if err != nil {
		return "", err
	}
	return call.Out, call.Err
}
