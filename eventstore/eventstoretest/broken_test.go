package eventstoretest_test

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore/eventstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flawVariable tells a child process which flaw its store has.
const flawVariable = "EVENTSTORETEST_FLAW"

// TestFlawed runs the suite on a store with the flaw in the environment. Without
// one the store is sound, and the suite must pass.
func TestFlawed(t *testing.T) {
	t.Parallel()
	f := flaw(os.Getenv(flawVariable))
	options := []eventstoretest.Option{}
	if f != sound {
		options = append(options, eventstoretest.Patience(3*time.Second))
	}
	eventstoretest.Run(t, func(testing.TB) eventstoretest.Store {
		store := newFlawedStore(f)
		return eventstoretest.Store{EventStore: store, Streams: store, Close: store.Close}
	}, options...)
}

// TestBroken tests the suite: for each store that is broken on purpose it runs the
// part that is there to catch it, in a process of its own, which may hang or leak.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flaw flaw
		part string
		says string
	}{
		{lostUpdate, "Append/SecondOfTwoWritersConflicts", "succeeded instead of failing"},
		{lostUpdate, "Concurrency/WritersOfOneStream", "lost update"},
		{racyUpdate, "Concurrency/WritersOfOneStream", "lost update"},
		{gapAboveHead, "Append/VersionAboveTheHeadIsAConflict", "succeeded instead of failing"},
		{gapAboveHead, "Concurrency/WritersOfOneStream", "gap"},
		{landsBehindWinner, "Append/SecondOfTwoWritersConflicts", "the same append again"},
		{landsBehindWinner, "Idempotence/RetryDoesNotLandBehindTheWinner", "succeeded instead of failing"},
		{partialBatch, "Atomicity/RefusedBatchWritesNothing", "events"},
		{partialBatch, "Concurrency/WritersOfAFewStreams", "partial batch|written against its word"},
		{partialAppend, "Atomicity/OneConflictWritesNothing", "does not name the stream that has it"},
		{partialAppend, "Random/AgainstAModel1", "the operations, the last of which went wrong"},
		{partialAppend, "Concurrency/WritersOfSeveralStreamsAtOnce", "written against its word"},
		{doubled, "Idempotence/SameIdsAtTheSamePlace", "duplicate"},
		{doubled, "Concurrency/WritersWhoRepeatAndCancel", "doubled"},
		{forgetsAppendIDs, "Idempotence/AppendIDWithAnyExpectation", "duplicate"},
		{wrongActual, "Append/ExpectedVersions", "conflicts"},
		{wrongActual, "Concurrency/WritersOfOneStream", "unreal conflict"},
		{untypedConflict, "Append/ExpectedVersions", "no \\*ConflictError"},
		{aliasesInput, "Append/CallerMayChangeWhatItPassed", "instead of"},
		{aliasesOutput, "Read/ReaderMayChangeWhatItGot", "data from"},
		{reorderedLog, "Log/SameEventsAsTheStreams", "the stream goes on with"},
		{reorderedLog, "Concurrency/WritersOfAFewStreams", "reordered log"},
		{skippedPosition, "Log/PositionsAreDenseAndStable", "position"},
		{skippedPosition, "Concurrency/WritersOfOneStream", "skipped position"},
		{lateCommit, "Log/ReadersDuringWritesSeeOneHistory", "skipped position"},
		{blockedAfterCancel, "Lifecycle/CancelledAppendBlocksNobody", "append after one that was cancelled"},
		{leaksGoroutines, "Lifecycle/Leaks", "leaked goroutines"},
		{losesAcknowledged, "Concurrency/WritersOfOneStream", "lost:"},
		{deniesWrites, "Lifecycle/CancelledAppendBlocksNobody", "written against its word"},
		{unmarkedErrors, "Lifecycle/CancelledContext", "does not match ErrNotWritten"},
		{unmarkedErrors, "Lifecycle/ClosedStore", "does not match ErrNotWritten"},
		{checksBefore, "Atomicity/ChecksHoldAtTheMomentOfTheWrite", "each of which checked"},
		{checksBefore, "Concurrency/WritersOfSeveralStreamsAtOnce", "no order explains this"},
		{stopsAtPage, "Read/LongStream", "last version forward"},
		{stopsAtPage, "Read/StartedBeforeOrDuringWrites", "a read of a stream that had"},
		{deletesByPrefix, "Streams/EventsOfTheOtherStreamsStay", "stream info"},
		{reusesVersions, "Streams/DeletedStreamReadsAsEmptyAndGoesOn", "versions after a deletion"},
		{reusesVersions, "Random/AgainstAModel1", "the operations, the last of which went wrong"},
		{unrealConflict, "Concurrency/WritersOfOneStream", "unreal conflict|no order explains this"},
		{servesClosed, "Lifecycle/ClosedStore", "instead of event store is closed|did not return"},
		{yieldsAfterError, "Lifecycle/ContextCancelledInTheMiddleOfARead", "went on to"},
		{erasesInStreamOnly, "Streams/ErasedEventsLeavePlaceholders", "Erased"},
	} {
		t.Run(strings.ReplaceAll(string(c.flaw), " ", "-")+"/"+strings.ReplaceAll(c.part, "/", "_"), func(t *testing.T) {
			t.Parallel()
			out, caught, told := "", false, ""
			says := regexp.MustCompile("(?m)^.*(" + c.says + ").*$")
			for run := 0; run < runs && told == ""; run++ {
				if out, caught = runFlawed(t, c.flaw, c.part); caught {
					told = says.FindString(out)
				}
			}
			if !caught {
				t.Fatalf("%s passes a store with the flaw %q %d times:\n%s", c.part, c.flaw, runs, out)
			}
			if !strings.Contains(out, "--- FAIL: TestFlawed/"+c.part) {
				t.Fatalf("%s does not catch a store with the flaw %q:\n%s", c.part, c.flaw, out)
			}
			if told == "" {
				t.Fatalf("%s catches a store with the flaw %q, and not for saying %q:\n%s", c.part, c.flaw, c.says, out)
			}
			t.Logf("%s: caught by %s: %s", c.flaw, c.part, strings.TrimSpace(told))
		})
	}
}

// runs is how often a part may run until it meets a flaw: some are races, which a
// machine that is busy otherwise does not always show, or on which the patience with
// a flawed store ends before they are met.
const runs = 5

// runFlawed runs a part of the suite on a store with a flaw and returns what the
// process printed, and whether it failed.
func runFlawed(t *testing.T, f flaw, part string) (string, bool) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pattern := "^TestFlawed$/^" + strings.ReplaceAll(part, "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), program, "-test.run="+pattern, "-test.timeout=5m", "-test.count=1")
	cmd.Env = append(os.Environ(), flawVariable+"="+string(f))
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("run the suite in a process of its own: %v", err)
	}
	return string(out), err != nil
}
