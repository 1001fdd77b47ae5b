"""Labels as the database holds them, made without FiftyOne."""
