"""What runs in other processes: tasks without FiftyOne, local processes and Ray actors for them."""
