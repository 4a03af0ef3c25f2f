"""What runs beside a command in a pod: brings files in, watches over it, brings its fruit out."""
