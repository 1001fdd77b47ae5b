"""The FiftyOne App: operators, one a file; forms and messages only, the work is the SDK's."""
