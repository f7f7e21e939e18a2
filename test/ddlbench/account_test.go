package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func wantReads(t *testing.T, a *account, want reads) {
	t.Helper()
	if diff := cmp.Diff(want, a.total(), cmp.AllowUnexported(reads{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStalenessIsTheAgeOfTheHeartbeatWhenTheAnswerIsThere(t *testing.T) {
	var a account
	a.answered(at(0), at(5), beat{1, at(-20)})
	a.answered(at(20), at(90), beat{2, at(10)}) // it was 10 ms old when it was asked for
	a.answered(at(100), at(101), beat{4, at(100)})
	wantReads(t, &a, reads{due: 3, longest: 70 * time.Millisecond, stalest: 80 * time.Millisecond})
}

func TestOlderDataThanBeforeIsAStepBackward(t *testing.T) {
	var a account
	a.answered(at(0), at(1), beat{10, at(0)})
	a.answered(at(20), at(21), beat{10, at(0)}) // the same is none
	a.answered(at(40), at(41), beat{8, at(-100)})
	a.answered(at(60), at(61), beat{9, at(-50)}) // still older than what was seen
	a.answered(at(80), at(81), beat{11, at(50)})
	wantReads(t, &a, reads{due: 5, longest: time.Millisecond, stalest: 141 * time.Millisecond, backward: 2, furthest: 100 * time.Millisecond})
}

func TestAStepBackwardOverTheEndOfTheWarmUpCounts(t *testing.T) {
	var a account
	a.answered(at(0), at(500), beat{10, at(0)})
	a.forget()
	a.answered(at(520), at(521), beat{9, at(-50)})
	wantReads(t, &a, reads{due: 1, longest: time.Millisecond, stalest: 571 * time.Millisecond, backward: 1, furthest: 50 * time.Millisecond})
}

func TestReadsThatAreDueWhileTheClientIsStuckAreBlocked(t *testing.T) {
	var a account
	a.answered(at(0), at(250), beat{1, at(240)})
	for due := 20; due <= 250; due += 20 {
		a.unsent(at(due), at(250))
	}
	// Those due at 0, 20, …, 140 are more than 100 ms late.
	wantReads(t, &a, reads{due: 13, blocked: 8, longest: 250 * time.Millisecond, stalest: 10 * time.Millisecond})
}

func TestAFailedReadSaysNothingOfStaleness(t *testing.T) {
	var a account
	a.answered(at(0), at(1), beat{5, at(0)})
	a.failedOne(at(20), at(22), errors.New("gone"))
	wantReads(t, &a, reads{due: 2, failed: 1, longest: 2 * time.Millisecond, stalest: time.Millisecond, errors: []string{"gone"}})
}

func TestSumsOfManyClients(t *testing.T) {
	sum := reads{due: 2, blocked: 1, longest: 3, stalest: 9, errors: []string{"a", "b", "c"}}
	sum.add(reads{due: 5, failed: 3, blocked: 1, longest: 4, stalest: 8, backward: 2, furthest: 7, errors: []string{"d", "e", "f"}})
	want := reads{due: 7, failed: 3, blocked: 2, longest: 4, stalest: 9, backward: 2, furthest: 7, errors: []string{"a", "b", "c", "d", "e"}}
	if diff := cmp.Diff(want, sum, cmp.AllowUnexported(reads{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheScheduleGoesOnWhileAClientIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		slow := 0
		r := reader{ask: func() (beat, error) {
			if slow++; slow == 3 {
				time.Sleep(210 * time.Millisecond)
			}
			return beat{int64(slow), time.Now()}, nil
		}}
		began := time.Now()
		go func() {
			time.Sleep(990 * time.Millisecond)
			close(end)
		}()
		r.run(began, 20*time.Millisecond, end)
		if sent := slow; sent != 40 {
			t.Errorf("sent %d reads", sent)
		}
		// Due at 0, 20, …, 980; that of 40 was stuck until 250.
		wantReads(t, &r.account, reads{due: 50, blocked: 6, longest: 210 * time.Millisecond})
	})
}
