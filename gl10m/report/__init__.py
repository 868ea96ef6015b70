"""What a person looks at: the funnel, counts and pictures."""
