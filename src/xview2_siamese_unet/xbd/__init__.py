"""What xBD's file names and label JSON say."""
