{{- define "gridloom.postgresql.files" -}}
start.sh: |
  {{- .Files.Get "files/postgresql/start.sh" | nindent 2 }}
ready.sh: |
  {{- .Files.Get "files/postgresql/ready.sh" | nindent 2 }}
# initdb asks for the name of the user that runs it, and an image need not know this one.
passwd: |
  root:x:0:0:root:/root:/bin/sh
  postgres:x:{{ .Values.postgresql.userId }}:{{ .Values.postgresql.userId }}:postgres:/var/lib/postgresql:/bin/sh
{{- end -}}
