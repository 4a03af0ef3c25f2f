{{/* What the pods of all components have in common. */}}

{{- define "gridloom.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "gridloom.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* {root, component, values}: where the component's pods may run, and how they spread. */}}
{{- define "gridloom.placement" -}}
{{- include "gridloom.pullSecrets" .root }}
{{- with include "gridloom.servicePriorityClass" .root }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "gridloom.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/*
Native gRPC health, on a port where there is nothing else: the kubelet speaks no TLS. The start may
wait for the database and for the process before it.
*/}}
{{- define "gridloom.probes" -}}
startupProbe:
  grpc: {port: {{ .port }}}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: {{ add .root.Values.startPatienceSeconds 60 }}
readinessProbe:
  grpc: {port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 3
livenessProbe:
  grpc: {port: {{ .port }}}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* Settings that all services share; ConfigMap data. {root, service} */}}
{{- define "gridloom.commonSettings" -}}
{{- $root := .root -}}
GRIDLOOM_HOME: /tmp/gridloom
GRIDLOOM_HOST: 0.0.0.0
GRIDLOOM_PORT: "50051"
GRIDLOOM_HEALTH_PORT: "50053"
{{- if include "gridloom.internalTls" $root }}
GRIDLOOM_TLS_CERT_FILE: /etc/gridloom/internal/tls.crt
GRIDLOOM_TLS_KEY_FILE: /etc/gridloom/internal/tls.key
GRIDLOOM_TLS_CA_FILE: /etc/gridloom/internal/ca.crt
GRIDLOOM_TLS_REQUIRE_CLIENT: "true"
{{- else }}
GRIDLOOM_ALLOW_PLAINTEXT: "true"
{{- end }}
GRIDLOOM_SECRET_FILE: /etc/gridloom/access/secret
{{- if eq .service "scheduler" }}
GRIDLOOM_BOOTSTRAP_ADMIN_KEY_FILE: /etc/gridloom/access/admin-key
{{- end }}
GRIDLOOM_METRICS_PORT: "9090"
GRIDLOOM_LOG_LEVEL: {{ $root.Values.logLevel }}
GRIDLOOM_GRACE_S: {{ $root.Values.gracePeriodSeconds | quote }}
GRIDLOOM_START_PATIENCE_S: {{ $root.Values.startPatienceSeconds | quote }}
GRIDLOOM_PUBLIC_ADDRESS: {{ include "gridloom.jobsAddress" $root | quote }}
{{- range $other := list "scheduler" "functions" "objects" "mpi" }}
{{- if ne $other $.service }}
GRIDLOOM_{{ upper $other }}_ADDRESS: {{ include "gridloom.serviceAddress" (dict "root" $root "service" $other) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* {service, settings}: the service's own settings, as its environment names them. */}}
{{- define "gridloom.ownSettings" -}}
{{- range $name, $value := .settings }}
{{- if not (kindIs "invalid" $value) }}
GRIDLOOM_{{ upper $.service }}_{{ upper $name }}: {{ include "gridloom.plain" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A value as text. YAML's large numbers arrive as floats: no exponent, no fraction that was not written. */}}
{{- define "gridloom.plain" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}{{ printf "%.0f" . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/*
The Deployment of a service of ours.
{root, service, values, config, account, innerPort, mounts, volumes, mountsToken, keepsNothing,
autoscaled}: the last six may be missing. One that keeps nothing has no database, and may have several replicas.
*/}}
{{- define "gridloom.deployment" -}}
{{- $root := .root -}}
{{- $names := dict "root" $root "component" .service -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "gridloom.metadata" $names | nindent 2 }}
spec:
  {{- if not .autoscaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  {{- if .keepsNothing }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  {{- else }}
  # One process works on a service's tables. The next one starts beside the one before, waits for it
  # to let go of the database, and takes over: the gap is what that takes, and no start-up.
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 1}
  {{- end }}
  selector:
    matchLabels:
      {{- include "gridloom.selector" $names | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "gridloom.podLabels" $names | nindent 8 }}
        {{- with .values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ .config | sha256sum }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ .account }}
      automountServiceAccountToken: {{ .mountsToken | default false }}
      # A Service named gridloom-scheduler would put a GRIDLOOM_SCHEDULER_PORT of its own into the
      # environment, where our settings live.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ add $root.Values.gracePeriodSeconds 15 }}
      securityContext:
        {{- include "gridloom.podSecurityContext" 65532 | nindent 8 }}
      {{- include "gridloom.placement" (dict "root" $root "component" .service "values" .values) | trim | nindent 6 }}
      containers:
        - name: {{ .service }}
          image: {{ include "gridloom.image" (dict "root" $root "image" (index $root.Values.images .service)) }}
          imagePullPolicy: {{ $root.Values.images.pullPolicy }}
          args: ["-m", "gridloom_services.{{ .service }}"]
          command: [python]
          ports:
            - {name: grpc, containerPort: 50051}
            {{- with .innerPort }}
            - {name: inner, containerPort: {{ . }}}
            {{- end }}
            - {name: health, containerPort: 50053}
            - {name: metrics, containerPort: 9090}
          envFrom:
            - configMapRef:
                name: {{ include "gridloom.fullname" $root }}-{{ .service }}
            {{- range .values.envFromSecrets }}
            - secretRef:
                name: {{ . }}
            {{- end }}
          {{- if not .keepsNothing }}
          env:
            - name: GRIDLOOM_DATABASE_URL
              valueFrom:
                secretKeyRef:
                  name: {{ include "gridloom.databaseSecret" $root }}
                  key: {{ include "gridloom.databaseKey" $root }}
          {{- end }}
          {{- include "gridloom.probes" (dict "root" $root "port" 50053) | nindent 10 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            {{- include "gridloom.containerSecurityContext" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            - {name: access, mountPath: /etc/gridloom/access, readOnly: true}
            {{- if include "gridloom.internalTls" $root }}
            - {name: internal, mountPath: /etc/gridloom/internal, readOnly: true}
            {{- end }}
            {{- with .mounts }}
            {{- . | trim | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        - name: access
          secret:
            secretName: {{ include "gridloom.accessSecret" $root }}
            defaultMode: 0440
            items:
              - {key: secret, path: secret}
              {{- if eq .service "scheduler" }}
              - {key: admin-key, path: admin-key}
              {{- end }}
        {{- if include "gridloom.internalTls" $root }}
        {{- include "gridloom.internalVolume" $root | nindent 8 }}
        {{- end }}
        {{- with .volumes }}
        {{- . | trim | nindent 8 }}
        {{- end }}
{{- end -}}
