"""What a dataset holds, for forms and the panel: fields, runs, thumbnails."""
